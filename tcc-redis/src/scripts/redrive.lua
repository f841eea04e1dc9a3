-- Sets parked branches going again, in the decision's direction.

local function operate()
  local asked = take_list(take_number)
  if not record then
    refuse('not_found')
  end
  return { 'ok', #set_going(asked) }
end
