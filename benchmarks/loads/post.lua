-- wrk -s post.lua URL -- SIZE: every request posts so many bytes.
function init(arguments)
  wrk.method = "POST"
  wrk.body = string.rep("x", tonumber(arguments[1]))
end
