-- Rules that several operations share; `tcc_core::machine` says the same in Rust, and numbers are the
-- rules' in DESIGN.md §3.

-- What a step answers that went the short way: the caller knows the rest.
local QUICK = 1

local function refuse(...)
  error({ refused = { ... } })
end

-- Rings once a step, however many of the participant's branches are why. What a step hushed it does not ring again.
local function ring(name)
  if rung[name] then
    return
  end
  local bell = record.bells[name] or { count = 0, entry = '0-0' }
  local wait = math.min(BELL_BASE * 2 ^ bell.count, BELL_CAP)
  record.bells[name] = { count = bell.count + 1, again = now + wait, entry = bell.entry }
  rung[name] = true
end

local function hush(name)
  record.bells[name] = nil
  rung[name] = nil
  hushed[name] = true
end

-- When someone must look next (I10).
local function due_at()
  if record.state == 'trying' then
    return math.min(record.lease_until, record.deadline_at)
  end
  local earliest
  for _, branch in ipairs(record.branches) do
    if is_drivable(branch) then
      -- While a message stands, nobody has anything to do.
      local bell = record.bells[branch.participant]
      local at = math.max(leased_until(branch) or branch.next, bell and bell.again or 0)
      earliest = math.min(earliest or at, at)
    end
  end
  return earliest
end

local function due_anew()
  local at = due_at()
  if at then
    due_set(at)
  else
    due_remove()
  end
  return at
end

-- Whether a transaction is final is derived from its branches (rule 11); payloads go then, arguments of
-- an unknown try excepted, which a late outcome would need (rule 6c).
local function settle()
  local drivable, open = false, false
  for _, branch in ipairs(record.branches) do
    open = open or not FINAL[branch.state]
    drivable = drivable or is_drivable(branch)
  end
  if not open and record.ended_at then
    return
  end
  if not open then
    record.state = record.decision == 'confirm' and 'confirmed' or 'cancelled'
    record.ended_at = now
    -- Nothing of it is waited for any more.
    record.deadline_at, record.lease_until = now, now
    note('ended', record.state)
    for place, branch in ipairs(record.branches) do
      branch.result = nil
      if branch.try then
        set_text(place, 'arguments', false)
      end
    end
    for _, name in ipairs(sorted_names(record.bells)) do
      hush(name)
    end
  end
  if not drivable then
    due_remove()
  end
end

-- Epoch and attempt are counted when the claim is made (rules 10 and 11).
local function open_claim(branch, token, lease_ms)
  branch.epoch = branch.epoch + 1
  branch.attempts = branch.attempts + 1
  branch.token = token
  branch.lease = now + lease_ms
  branch.closed = nil
  branch.claimed = HISTORY_MAX > 0 and now or nil
  note('claimed', ordinal_text(branch.place), DIRECTION[branch.state], 'attempt', branch.attempts)
end

local function due_afresh(branch)
  branch.attempts = 0
  branch.next = now
  branch.ongoing = nil
  branch.unhandled = nil
  branch.parked = nil
  branch.since = nil
end

-- Sets parked branches going again: those of these places, or all. Gives their places.
local function set_going(asked)
  local wanted = {}
  for _, place in ipairs(asked) do
    if not record.branches[place] then
      refuse('no_such_branch', place)
    end
    wanted[place] = true
  end
  local names, going = {}, {}
  for place, branch in ipairs(record.branches) do
    if branch.parked and (#asked == 0 or wanted[place]) then
      due_afresh(branch)
      note('redriven', ordinal_text(place))
      names[branch.participant] = true
      going[#going + 1] = place
    end
  end
  if #going == 0 then
    refuse('not_parked')
  end
  for _, name in ipairs(sorted_names(names)) do
    ring(name)
  end
  due_earlier(now)
  return going
end

-- Makes a branch final in its direction; its claim is left to its holder.
local function finish(branch)
  branch.state = branch.state == 'confirming' and 'confirmed' or 'cancelled'
  branch.parked = nil
  branch.since = nil
  branch.ongoing = nil
  branch.unhandled = nil
end

-- `bare` leaves out what the caller has: the arguments, the name, the trace.
local function drive(branch, bare)
  local arguments = not bare and branch.arguments and arguments_of(branch)
  return {
    branch.place, branch.action, DIRECTION[branch.state], number_text(branch.epoch), branch.attempts,
    arguments and 1 or 0, arguments or '', branch.try or 'unknown', result_of(branch),
    branch.ongoing and now - branch.ongoing or -1, branch.unhandled and now - branch.unhandled or -1,
    branch.lease - now, bare and '' or record.name, not bare and branch.trace or '',
  }
end

local function take_create()
  if not take_flag() then
    return nil
  end
  return {
    name = take(), key = take_optional(), initiator = take(), deadline_at = take_number(),
    lease_ms = take_number(), retention_ms = take(),
  }
end

-- Nothing is created at or after the deadline the caller carries (rule 3).
local function create(new)
  if now >= new.deadline_at then
    refuse('too_late_to_create')
  end
  record = {
    name = new.name, key = new.key, initiator = new.initiator, state = 'trying',
    begun_at = now, deadline_at = new.deadline_at, lease_until = now + new.lease_ms,
    retention_ms = new.retention_ms, branches = {}, bells = {},
  }
  due_set(due_at())
  note('begun by', new.initiator)
end

local function take_report()
  return { place = take_number(), try = take(), result = take() }
end

-- The first word of a try stands; a late one reopens its branch once (rule 6c).
local function learn(report)
  local branch = record.branches[report.place]
  if not branch then
    return 'lost'
  end
  if branch.try then
    return branch.try == report.try and 'again' or 'conflict'
  end
  branch.try = report.try
  if report.try == 'succeeded' then
    branch.result = report.result
  end
  note('try of', ordinal_text(report.place), report.try)
  if branch.state == 'trying' then
    branch.state = report.try == 'succeeded' and 'tried' or 'refused'
    return 'recorded'
  end
  if branch.state == 'cancelled' then
    branch.state = 'cancelling'
    due_afresh(branch)
    if record.ended_at then
      record.state = 'cancelling'
      record.ended_at = nil
    end
    due_earlier(now)
    ring(branch.participant)
    note('reopened', ordinal_text(report.place))
  end
  return 'late'
end

-- The decision and what leads a worker to the work are one write (rules 1, 4 and 7).
local function make_decision(direction, reason, by, inline)
  record.decision = direction
  record.reason = reason
  record.decided_by = by
  record.decided_at = now
  record.state = direction == 'confirm' and 'confirming' or 'cancelling'
  note('decided', direction, 'because', reason, 'by', by)
  local others = {}
  for place, branch in ipairs(record.branches) do
    if direction == 'confirm' and branch.state == 'tried' then
      branch.state = 'confirming'
    else
      branch.state = 'cancelling'
    end
    branch.next = now
    if inline and inline.branches[place] then
      open_claim(branch, inline.token, inline.lease_ms)
    else
      others[branch.participant] = true
    end
  end
  for _, name in ipairs(sorted_names(others)) do
    ring(name)
  end
  local at = due_at()
  if at then
    due_earlier(at)
  end
  settle()
end
