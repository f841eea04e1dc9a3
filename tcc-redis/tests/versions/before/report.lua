-- Records what tries came to, whenever it becomes known (rule 6c).

local function operate()
  local reports = take_list(take_report)
  if not record then
    refuse('not_found')
  end
  local answers = {}
  for place, report in ipairs(reports) do
    answers[place] = learn(report)
  end
  return { 'ok', now, answers }
end
