-- Sets parked branches going again, in the decision's direction.

local function operate()
  local asked = take_list(take_number)
  if not record then
    refuse('not_found')
  end
  local wanted = {}
  for _, place in ipairs(asked) do
    if not record.branches[place] then
      refuse('no_such_branch', place)
    end
    wanted[place] = true
  end
  local names, count = {}, 0
  for place, branch in ipairs(record.branches) do
    if branch.parked and (#asked == 0 or wanted[place]) then
      due_afresh(branch)
      note('redriven', ordinal_text(place))
      names[branch.participant] = true
      count = count + 1
    end
  end
  if count == 0 then
    refuse('not_parked')
  end
  for _, name in ipairs(sorted_names(names)) do
    ring(name)
  end
  due_earlier(now)
  return { 'ok', now, count }
end
