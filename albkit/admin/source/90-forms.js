// Forms.
function register(group) {
  const box = $("register"), form = box.querySelector("form");
  const known = parse(filterOf("targets").value).find((one) => one.field === "group")?.value;
  form.reset();
  form.group.replaceChildren(...[...data.groups.keys()].map((name) => h("option", { value: name }, name)));
  if (data.groups.has(group || known)) form.group.value = group || known;
  faultsOf(form, []);
  box.showModal();
  form.target.focus();
}
// Shows the faults, and marks their fields as invalid.
function faultsOf(form, faults, words = "") {
  for (const field of form.elements) field.removeAttribute("aria-invalid");
  for (const { path } of faults) form.elements.namedItem(path?.split(/[.\]]/).pop())?.setAttribute("aria-invalid", "true");
  form.querySelector(".fault").replaceChildren(...(faults.length ? [] : [words]), ...faults.map((fault) => h("div", faultWords(fault))));
}
on($("register").querySelector("form"), "submit", async (event) => {
  event.preventDefault();
  const form = event.target, { group, target, weight, max_concurrency: most, standby } = form;
  try {
    await call("POST", `api/groups/${encodeURIComponent(group.value)}/targets`, { targets: [{ target: target.value.trim(), weight: +weight.value, standby: standby.checked, max_concurrency: most.value ? +most.value : null }] });
    $("register").close();
    toast(`${target.value.trim()} is registered in ${group.value}.`);
  } catch (error) { faultsOf(form, error.faults || [], error.message); }
});
on($("try"), "submit", async (event) => {
  event.preventDefault();
  const { method, url, headers: lines, client, listener, http2 } = event.target, fields = {};
  for (const line of lines.value.split("\n")) {
    const [, name, value] = line.match(/^\s*([^:\s]+)\s*:\s*(.*?)\s*$/) || [];
    if (name) fields[name] = name in fields ? `${fields[name]}, ${value}` : value;
  }
  const body = { method: method.value.trim(), url: url.value.trim(), headers: fields, client: client.value.trim(), http2: http2.checked };
  if (listener.value) body.listener = listener.value;
  const fault = $("try-fault");
  try {
    const answer = await call("POST", "api/explain", body);
    fault.replaceChildren();
    const listed = [["Rule", answer.rule || "default action"], ["Target group", answer.group || "none"], ["Target", answer.target || "none"]];
    $("try-answer").replaceChildren(h("h3", `${body.method} ${body.url}`), h("dl.facts", ...listed.flatMap(([label, words]) => [h("dt", label), h("dd", words)])), h("ol", ...answer.why.map((line) => h("li", h("span", line)))));
  } catch (error) { fault.replaceChildren(...[error.message, ...(error.faults || []).map(faultWords)].map((words) => h("span", words, " "))); }
});
for (const method of ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) $("methods").append(h("option", { value: method }));
