// Actions.
const at = (t) => `api/groups/${encodeURIComponent(t.group)}/targets/${encodeURIComponent(t.address)}`;
const got = (answer) => {
  // Show the change at once; the stream confirms it within a second.
  const item = answer?.target;
  if (item?.id && data.targets.has(item.id)) merge(data.targets.get(item.id), item);
  soon();
};
async function drain(t) {
  await call("POST", `${at(t)}/drain`).then(got);
  toast(`${t.address} is draining. It gets no new requests.`, { undo: () => putBack(t).catch(failed(`${t.address} is not put back.`)) });
}
async function putBack(t) {
  await call("POST", `${at(t)}/put-back`).then(got);
  toast(`${t.address} is back in ${t.group}.`);
}
async function setTarget(t, change, words, back) {
  await call("PATCH", at(t), change).then(got);
  toast(words, { undo: back && (() => setTarget(t, back, `${t.address} is as it was.`).catch(failed("Not undone."))) });
}
const setWeight = (t, weight) => setTarget(t, { weight }, `Weight of ${t.address}: ${t.weight} → ${weight}.`, { weight: t.weight });
const setStandby = (t, standby) => setTarget(t, { standby }, `${t.address} is ${standby ? "standby now" : "no longer standby"}.`, { standby: t.standby });
async function deregister(t) {
  const open = [t.outstanding && plural(t.outstanding, "open request"), t.tunnels && plural(t.tunnels, "tunnel")].filter(Boolean).join(" and ");
  const sure = await ask(`Deregister ${t.address}?`, `It leaves ${t.group}${open ? ` after its ${open}` : ""}. There is no undo: to use it again, register it again. If you want to put it back later, drain it instead.`, "Deregister");
  if (!sure) return;
  await call("DELETE", at(t));
  toast(`${t.address} is deregistered from ${t.group}.`);
}
async function closeTunnels(chosen, whose, body) {
  const n = chosen.length;
  if (!n) return toast("The tunnels have ended already.");
  const sure = await ask(n === 1 ? "Close this tunnel?" : `Close ${plural(n, "tunnel")}?`,
    `${n === 1 ? `${chosen[0].client} → ${chosen[0].target}` : whose}. ${n === 1 ? "Its client receives" : "Their clients receive"} close code 1001 (going away) and may connect again. There is no undo.`, n === 1 ? "Close it" : `Close ${count(n)}`);
  if (!sure) return;
  if (body) {
    const answer = await call("POST", "api/tunnels/close", body);
    toast(`${plural(answer?.closed ?? n, "tunnel")} closed.`);
    return;
  }
  let closed = 0, missing = 0, error = null;
  const queue = [...chosen];
  const work = async () => {
    for (let one; !error && (one = queue.pop());) {
      try { await call("DELETE", `api/tunnels/${encodeURIComponent(one.id)}`); closed++; }
      catch (problem) { if (problem.status === 404) missing++; else error = problem; }
    }
  };
  await Promise.all([work(), work(), work(), work()]);
  if (closed || !error) toast(`${plural(closed, "tunnel")} closed${missing ? `; ${count(missing)} had ended before` : ""}.`);
  if (error) throw error;
}
const reopen = () => call("POST", "api/logs/reopen").then(() => toast("Log files are reopened."), failed("Log files are not reopened."));
