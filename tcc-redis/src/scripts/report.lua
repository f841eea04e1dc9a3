-- Records what tries came to, whenever it becomes known (rule 6c).

local WATCHED = { head = 'record state', parts = { '.state' }, beyond = true, apart = true }
-- How a branch stands that was reported on, and how one that was not.
local TRIED, TRYING = 'tried succeeded', false

-- Branches of an undecided record that succeeded, and were not heard of before.
local function quick()
  local count, set, said = ARGV[taken + 1], {}, {}
  if taken + 1 + 3 * count ~= last then
    return nil
  end
  local found, there = read_plain(WATCHED)
  if not found or found[2] ~= 'trying' then
    return nil
  end
  local retention, marks = apart_retention(found[1], there)
  for number = 1, count do
    local place, try, result = unpack(ARGV, taken + 3 * number - 1, taken + 3 * number + 1)
    if try ~= 'succeeded' or place > there or found[2 + place] ~= TRYING then
      return nil
    end
    -- Said twice, the second is a repetition.
    found[2 + place] = TRIED
    set[4 * number - 3], set[4 * number - 2] = field_of(place, 'state'), TRIED
    set[4 * number - 1], set[4 * number] = field_of(place, 'result'), result
    said[number] = 'try of ' .. ordinal_text(place) .. ' succeeded'
  end
  if count == 0 or count > QUICK_MAX
    or not begin_quick(HISTORY_MAX > 0 and moment_text(now) .. ' ' .. table.concat(said, '; ')) then
    return nil
  end
  redis.call('HSET', TX, 'record', plain_text(there) .. retention .. APART[marks], unpack(set))
  return QUICK
end

local function operate()
  local reports = take_list(take_report)
  if not record then
    refuse('not_found')
  end
  local answers = {}
  for place, report in ipairs(reports) do
    answers[place] = learn(report)
  end
  return { 'ok', answers }
end
