-- Moments: milliseconds in calculations, RFC 3339 in the record. `now` never goes back, whatever the
-- server's clock does (§4 "Time").

local DAY = 86400000

local mark = redis.pcall('GET', CLOCK)
local now = math.max(clock(), type(mark) == 'string' and tonumber(mark) or 0)

local function number_text(number)
  return string.format('%.0f', number)
end

-- Howard Hinnant's days_from_civil and civil_from_days, for days that are not negative.
local function day_of(year, month, day)
  if month <= 2 then
    year = year - 1
  end
  local era = math.floor(year / 400)
  local of_era = year - era * 400
  local of_year = math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1
  return era * 146097 + of_era * 365 + math.floor(of_era / 4) - math.floor(of_era / 100) + of_year - 719468
end

local function date_of(day)
  local shifted = day + 719468
  local era = math.floor(shifted / 146097)
  local of_era = shifted - era * 146097
  local leaps = math.floor(of_era / 1460) - math.floor(of_era / 36524) + math.floor(of_era / 146096)
  local year = math.floor((of_era - leaps) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local from_march = math.floor((5 * of_year + 2) / 153)
  local month = (from_march + 2) % 12 + 1
  if month <= 2 then
    year = year + 1
  end
  local of_month = of_year - math.floor((153 * from_march + 2) / 5) + 1
  return string.format('%04d-%02d-%02d', year + era * 400, month, of_month)
end

local function moment_text(millis)
  local day = math.floor(millis / DAY)
  local rest = millis - day * DAY
  local hour, minute = math.floor(rest / 3600000), math.floor(rest / 60000) % 60
  local second = math.floor(rest / 1000) % 60
  return string.format('%sT%02d:%02d:%02d.%03dZ', date_of(day), hour, minute, second, rest % 1000)
end

local MOMENT = '^(%d%d%d%d)-(%d%d)-(%d%d)T(%d%d):(%d%d):(%d%d)%.(%d%d%d)Z$'

local function moment_of(field, text)
  local year, month, day, hour, minute, second, rest = string.match(text or '', MOMENT)
  if not year then
    unreadable(field, 'no moment')
  end
  local days = day_of(tonumber(year), tonumber(month), tonumber(day))
  local millis = days * DAY + hour * 3600000 + minute * 60000 + second * 1000 + rest
  if moment_text(millis) ~= text then
    unreadable(field, 'no moment')
  end
  return millis
end
