-- Time as the test's call gives it, in milliseconds.

local function clock()
  return take_number()
end
