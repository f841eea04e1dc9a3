-- Makes an operator's change, and keeps who made it and why.

local AUDIT_BRANCHES_MAX = 100

-- What changed, for the transaction's history and for the audit of its shard.
local function keep(by, why, what, ...)
  note('operator', by, what .. ':', why)
  local key = key_of('audit')
  if key then
    write('stream', audit_entry(key, by, why, 'gid', GID, ...))
  end
end

local CHANGES = {}

function CHANGES.cancel(by, why)
  if record.decision == 'confirm' then
    refuse('would_flip', 'confirm')
  end
  local changed = 0
  if not record.decision then
    keep(by, why, 'cancelled', 'changed', 'cancelled')
    make_decision('cancel', 'operator', by)
    changed = 1
  end
  return { 'ok', changed, record.decision, record.reason, record.decided_by, record.decided_at }
end

function CHANGES.redrive(by, why)
  local asked = take_list(take_number)
  if not record.decision then
    refuse('not_decided')
  end
  local going = set_going(asked)
  local places = {}
  for place = 1, math.min(#going, AUDIT_BRANCHES_MAX) do
    places[place] = ordinal_text(going[place])
  end
  keep(by, why, 'retried', 'changed', 'retried', 'branches', table.concat(places, ' '), 'count', #going)
  return { 'ok', #going }
end

-- A claim the branch may have had stays as it is: whoever holds it finds the branch final when it reports.
function CHANGES.resolve(by, why)
  local place, direction = take_number(), take()
  if not record.decision then
    refuse('not_decided')
  end
  local branch = record.branches[place]
  if not branch then
    refuse('no_such_branch', place)
  end
  if DIRECTION[branch.state] ~= direction then
    refuse('wrong_direction', place)
  end
  if FINAL[branch.state] then
    return { 'ok', 0, record.state }
  end
  if leased_until(branch) then
    refuse('branch_leased', place)
  end
  finish(branch)
  local ordinal = ordinal_text(place)
  keep(by, why, 'resolved ' .. ordinal .. ' as ' .. branch.state, 'changed', 'resolved', 'branch', ordinal, 'direction', direction)
  settle()
  return { 'ok', 1, record.state }
end

local function operate()
  local by, why, change = take(), take(), take()
  if not record then
    refuse('not_found')
  end
  return CHANGES[change](by, why)
end
