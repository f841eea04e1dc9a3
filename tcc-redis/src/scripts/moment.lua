-- Moments: milliseconds in calculations, RFC 3339 in the record. `now` never goes back, whatever the
-- server's clock does (§4 "Time").

local mark, now

-- Numbers as this call wrote them: those of many steps are the same.
local numbers = {}

local function number_text(number)
  local text = numbers[number]
  if not text then
    text = string.format('%d', number)
    numbers[number] = text
  end
  return text
end

local read_clock, moment_text, moment_of
do
local DAY = 86400000

-- Each date is calculated once, and each moment written once a call.
local days, dates, seconds, texts_of, read = {}, {}, {}, {}, {}
local CACHED_MAX = 4096
local cached = 0

function read_clock()
  mark = tonumber(redis.pcall('GET', CLOCK)) or 0
  now = math.max(clock(), mark)
  texts_of, numbers = {}, {}
  if cached > CACHED_MAX then
    days, dates, seconds, read, cached = {}, {}, {}, {}, 0
  end
end

-- Howard Hinnant's civil_from_days and days_from_civil, for days that are not negative.
local function date_of(day)
  if dates[day] then
    return dates[day]
  end
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
  dates[day] = string.format('%04d-%02d-%02d', year + era * 400, month, of_month)
  return dates[day]
end

-- Nothing if there is no such date.
local function day_of(date)
  if days[date] then
    return days[date]
  end
  local year = tonumber(string.sub(date, 1, 4))
  local month = tonumber(string.sub(date, 6, 7))
  if month <= 2 then
    year = year - 1
  end
  local era = math.floor(year / 400)
  local of_era = year - era * 400
  local of_year = math.floor((153 * ((month + 9) % 12) + 2) / 5) + string.sub(date, 9, 10) - 1
  local of_eras = era * 146097 + of_era * 365 + math.floor(of_era / 4) - math.floor(of_era / 100)
  local day = of_eras + of_year - 719468
  if date_of(day) == date then
    days[date] = day
    cached = cached + 1
  end
  return days[date]
end

function moment_text(millis)
  if texts_of[millis] then
    return texts_of[millis]
  end
  local second = math.floor(millis / 1000)
  local text = seconds[second]
  if not text then
    local day = math.floor(second / 86400)
    local rest = second - day * 86400
    local hour, minute = math.floor(rest / 3600), math.floor(rest / 60) % 60
    text = string.format('%sT%02d:%02d:%02d.', date_of(day), hour, minute, rest % 60)
    seconds[second] = text
    cached = cached + 1
  end
  text = string.format('%s%03dZ', text, millis - second * 1000)
  texts_of[millis] = text
  return text
end

function moment_of(field, text)
  if read[text] then
    return read[text]
  end
  local date, hour, minute, second, rest =
    string.match(text or '', '^(%d%d%d%d%-%d%d%-%d%d)T(%d%d):(%d%d):(%d%d)%.(%d%d%d)Z$')
  local day = date and day_of(date)
  if not day or hour > '23' or minute > '59' or second > '59' then
    unreadable(field, 'no moment')
  end
  local millis = day * DAY + hour * 3600000 + minute * 60000 + second * 1000 + rest
  texts_of[millis], read[text] = text, millis
  cached = cached + 1
  return millis
end
end
