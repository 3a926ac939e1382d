-- wrk -s varied.lua URL: every request has a field that none before it had, as one with a trace id has.
local number = 0

function request()
  number = number + 1
  wrk.headers["X-Request-Id"] = string.format("%032x", number)
  return wrk.format()
end
