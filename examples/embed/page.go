package main

const loginPage = `<!doctype html>
<meta name="viewport" content="width=device-width">
<title>Log in</title>
<form method="post" action="/login">
<label>Name <input name="user" required autofocus pattern="[a-z0-9_\-]{1,32}"></label>
<button>Log in</button>
</form>
`

// userPage takes the user's name, which needs no escaping: see validName.
const userPage = `<!doctype html>
<meta name="viewport" content="width=device-width">
<title>Room</title>
<form method="post" action="/logout">You are %s. <button>Log out</button></form>
<pre id="log" role="log"></pre>
<form id="say"><label>Say <input id="text" required autocomplete="off" maxlength="500"></label> <button>Send</button></form>
<script>
const ws = new WebSocket(location.origin.replace(/^http/, "ws") + "/ws", "gohub.v1");
const show = (line) => document.getElementById("log").append(line + "\n");
ws.onopen = () => ws.send(JSON.stringify({type: "join", ref: 1, room: "lobby"}));
ws.onclose = (e) => show("closed: " + e.code + " " + e.reason);
ws.onmessage = (e) => {
  const f = JSON.parse(e.data);
  if (f.type === "message") show(f.sender + ": " + JSON.stringify(f.body));
  if (f.type === "error") show("error: " + f.message);
};
document.getElementById("say").onsubmit = (e) => {
  e.preventDefault();
  const text = document.getElementById("text");
  ws.send(JSON.stringify({type: "publish", id: crypto.randomUUID(), room: "lobby", body: text.value}));
  text.value = "";
};
</script>
`
