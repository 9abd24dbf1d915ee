package gohub_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

func TestProtocolErrors(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	for name, c := range map[string]struct {
		binary bool
		frame  string
		code   string
	}{
		"no JSON":                  {false, `hello`, "bad_json"},
		"empty":                    {false, ``, "bad_json"},
		"an array":                 {false, `[]`, "bad_json"},
		"cut off":                  {false, `{"type":"ping"`, "bad_json"},
		"two objects":              {false, `{"type":"ping"} {"type":"ping"}`, "bad_json"},
		"no type":                  {false, `{}`, "unknown_type"},
		"unknown type":             {false, `{"type":"pong"}`, "unknown_type"},
		"type is a number":         {false, `{"type":7}`, "unknown_type"},
		"binary, too short":        {true, "\x01", "bad_json"},
		"binary, other version":    {true, "\x02\x00\x02{}", "bad_json"},
		"binary, header beyond":    {true, "\x01\x00\x09{}", "bad_json"},
		"binary, header not JSON":  {true, "\x01\x00\x02{]", "bad_json"},
		"binary, not a publish":    {true, "\x01\x00\x0f{\"type\":\"ping\"}", "bad_json"},
		"binary, header not UTF-8": {true, "\x01\x00\x04{\"\xff\"", "bad_json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := w.as("alice")
			typ := websocket.MessageText
			if c.binary {
				typ = websocket.MessageBinary
			}
			for i := range 3 {
				u.sync() // the session goes on
				require.NoError(t, u.ws.Write(t.Context(), typ, []byte(c.frame)))
				require.Equal(t, c.code, u.expect("error")["code"], "error %d", i)
			}
			u.closes(gohub.CloseProtocolError)
		})
	}
}

func TestBadRequestsDoNotCountAsProtocolErrors(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	u := w.as("alice", "r")
	for range 10 {
		u.fails("bad_request", frame{"type": "join", "room": 7})
		u.fails("bad_request", frame{"type": "typing", "room": "r"})
		u.fails("bad_room", frame{"type": "join", "room": ""})
		u.fails("not_joined", frame{"type": "leave", "room": "q"})
		u.fails("not_found", frame{"type": "call", "name": "x"})
		u.fails("unauthorized", frame{"type": "refresh"})
		u.fails("bad_request", frame{"type": "publish", "room": "r", "body": 1})
	}
	u.sync()
}

func TestErrorsNameTheirCommand(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	u := w.as("alice")
	u.text(`{"type":"nonsense","ref":"a\"b"}`)
	require.Equal(t, `a"b`, u.expect("error")["ref"])
	u.text(`{"ref":-1.5e1,"type":"leave","room":"r"}`)
	require.InDelta(t, -15, u.expect("error")["ref"], 0)
	id := gohub.NewID()
	u.text(`{"type":"publish","id":"` + id + `","room":"r","body":1,"ref":"mine"}`)
	require.Equal(t, "mine", u.expect("error", "id", id)["ref"])
	u.text(`{"type":"publish","id":"` + id + `","room":"r","body":1}`)
	require.NotContains(t, u.expect("error", "id", id), "ref")
}

// Unknown fields, and fields of other types of frames, are ignored.
func TestUnknownFieldsAreIgnored(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	u := w.as("alice")
	u.text(`{"type":"join","room":"r","ref":1,"body":[{"x":null}],"seen":"x","future":{"a":[1,2]}}`)
	u.expect("joined", "ref", 1)
}

func TestThirdProtocolErrorWithinTenSeconds(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{})
		u := w.as("alice")
		began := time.Now()
		for _, s := range []float64{0, 9, 19.5, 28.5, 30} { // never three in ten seconds
			pass(time.Until(began.Add(time.Duration(s * float64(time.Second)))))
			u.text("?")
			u.expect("error", "code", "bad_json")
			u.sync()
		}
		pass(500 * time.Millisecond) // the third since 28.5 s
		u.text("?")
		u.closes(gohub.CloseProtocolError)
	})
}

func TestFrameLimit(t *testing.T) {
	t.Parallel()
	const most = 4096
	w := start(t, gohub.Config{MaxFrame: most})
	ping := func(n int) []byte { return fmt.Appendf(nil, `{"type":"ping","x":"%s"}`, strings.Repeat("x", n-22)) }

	u := w.as("alice")
	require.NoError(t, u.ws.Write(t.Context(), websocket.MessageText, ping(most)))
	u.expect("pong")
	require.NoError(t, u.ws.Write(t.Context(), websocket.MessageText, ping(most+1)))
	u.closes(gohub.CloseTooBig)

	// Decided on the declared length: not a byte of the payload has been sent.
	b := w.bare("user=bob")
	_, err := b.nc.Write([]byte{0x80 | opBinary, 0x80 | 126, most >> 8, 1})
	require.NoError(t, err)
	_, code := b.rest()
	require.Equal(t, gohub.CloseTooBig, code)

	// The sum of the fragments counts.
	b = w.bare("user=bob")
	half := ping(most)
	b.write(opText, half[:most/2])
	b.write(0x80, half[most/2:])
	for {
		f, err := b.frame()
		require.NoError(t, err)
		if f["type"] == "pong" {
			break
		}
	}
	b.write(opText, half)
	b.write(0x80, []byte("x"))
	_, code = b.rest()
	require.Equal(t, gohub.CloseTooBig, code)
}

func TestTextMustBeUTF8(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	for _, bad := range []string{"\xff", "\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\xaf"} {
		u := w.as("alice")
		u.text(`{"type":"ping","x":"` + bad + `"}`)
		u.closes(gohub.CloseInvalidUTF8)
		require.Empty(t, u.all("pong"))
	}
	// A character may be split between two fragments.
	b := w.bare("user=alice")
	b.write(opText, []byte("{\"type\":\"ping\",\"x\":\"\xc3"))
	b.write(0x80, []byte("\xa9\"}"))
	for {
		f, err := b.frame()
		require.NoError(t, err)
		if f["type"] == "pong" {
			return
		}
	}
}

func TestRateLimit(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{RateLimiter: gohub.NewRateLimiter(gohub.Rate{Frames: 10})})
		u, other := w.as("alice", "r"), w.as("bob", "r")
		pass(time.Minute)
		burst := func() (allowed int) {
			t.Helper()
			for {
				if f := u.ask(frame{"type": "ping"}, "pong"); f["type"] == "error" {
					require.Equal(t, "rate_limited", f["code"])
					require.Positive(t, f.num("retry_ms"))
					require.LessOrEqual(t, f.num("retry_ms"), int64(100))
					return allowed
				}
				allowed++
			}
		}
		require.Equal(t, 20, burst(), "a burst is twice the rate")
		pass(time.Second)
		require.Equal(t, 10, burst())

		e := u.say("r", 1)
		require.Equal(t, "rate_limited", e["code"], "a publish is answered to its id")
		wait := time.Duration(e.num("retry_ms")) * time.Millisecond
		pass(wait + time.Millisecond)
		require.Equal(t, "ack", u.say("r", 2)["type"], "after retry_ms it works")
		u.sendBinary(frame{"type": "publish", "id": "01234567-89ab-7def-8123-456789abcdef", "room": "r"}, nil)
		u.expect("error", "id", "01234567-89ab-7def-8123-456789abcdef", "code", "rate_limited")
		require.Equal(t, "ack", other.say("r", 3)["type"], "a budget is a session's own")
		require.Equal(t, []any{2.0, 3.0}, bodiesOf(other.collect("r", 2)))

		// Nonsense is not read, and so is no protocol error, beyond the rate.
		for range 5 {
			u.text("?")
			u.expect("error", "code", "rate_limited")
		}
	})
}

func TestRateLimitOfBytes(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{RateLimiter: gohub.NewRateLimiter(gohub.Rate{Bytes: 10_000})})
		u := w.as("alice", "r")
		pass(time.Minute)
		big := strings.Repeat("x", 15_000)
		require.Equal(t, "ack", u.say("r", big)["type"])
		e := u.say("r", big)
		require.Equal(t, "rate_limited", e["code"])
		require.Greater(t, e.num("retry_ms"), int64(900))
		require.Equal(t, "ack", u.say("r", "small")["type"])
	})
}

func TestHundredRefusalsClose(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{RateLimiter: gohub.NewRateLimiter(gohub.Rate{Frames: 1})})
		patient, greedy := w.as("alice"), w.as("bob")
		refused := func(u *user) int { return len(u.take(func(f frame) bool { return f["code"] == "rate_limited" })) }
		for range 3 { // fewer than 100 in any ten seconds
			for range 95 {
				patient.send(frame{"type": "ping"})
			}
			synctest.Wait()
			require.GreaterOrEqual(t, refused(patient), 80)
			pass(10_100 * time.Millisecond)
		}
		patient.sync()
		for range 102 {
			greedy.send(frame{"type": "ping"})
		}
		synctest.Wait()
		require.Equal(t, 100, refused(greedy))
		greedy.send(frame{"type": "ping"})
		greedy.closes(gohub.CloseRateLimited)
	})
}

// byQueryExpiring is byQuery with the token's remaining life as "life".
func byQueryExpiring(r *http.Request) (gohub.Identity, error) {
	who, err := byQuery(r)
	if life := r.URL.Query().Get("life"); life != "" {
		d, err := time.ParseDuration(life)
		if err != nil {
			return who, err
		}
		who.ExpiresAt = time.Now().Add(d)
	}
	return who, err
}

// negotiate asks for a ticket.
func (w *world) negotiate(query string) map[string]any {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.url+"/?"+query, nil)
	require.NoError(w.t, err)
	res, err := w.http.Do(req)
	require.NoError(w.t, err)
	defer res.Body.Close()
	require.Equal(w.t, http.StatusOK, res.StatusCode)
	var n map[string]any
	require.NoError(w.t, json.NewDecoder(res.Body).Decode(&n))
	return n
}

func TestTokenExpires(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{Authenticator: gohub.AuthenticatorFunc(byQueryExpiring)})
		began := time.Now()
		short, long := w.dial("user=alice&life=1m"), w.dial("user=alice&life=10m")
		forever := w.as("alice")
		refreshed := w.dial("user=alice&life=1m")

		// A ticket lets the session live on until the new token expires.
		pass(50 * time.Second)
		ticket := w.negotiate("user=alice&life=2m")["ticket"]
		want := time.Now().Add(2 * time.Minute)
		r := refreshed.ask(frame{"type": "refresh", "ticket": ticket}, "refreshed")
		require.Equal(t, want.UnixMilli(), r.num("expires"))
		refreshed.fails("unauthorized", frame{"type": "refresh", "ticket": ticket}) // once
		short.sync()
		pass(11 * time.Second)
		short.closes(gohub.CloseTokenExpired)
		refreshed.sync()
		pass(time.Until(want) - time.Second)
		refreshed.sync()
		pass(2 * time.Second)
		refreshed.closes(gohub.CloseTokenExpired)

		pass(time.Until(began.Add(10*time.Minute - time.Second)))
		long.sync()
		ticket = w.negotiate("user=alice")["ticket"]
		require.Zero(t, long.ask(frame{"type": "refresh", "ticket": ticket}, "refreshed").num("expires"), "no more expiry")
		pass(time.Hour)
		long.sync()
		forever.sync()
	})
}

func TestRefreshRefusals(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{Authenticator: gohub.AuthenticatorFunc(byQueryExpiring)})
		u := w.dial("user=alice&life=1m")
		refresh := func(query string) frame {
			return frame{"type": "refresh", "ticket": w.negotiate(query)["ticket"]}
		}
		u.fails("forbidden", refresh("user=bob&life=10m"))
		u.fails("forbidden", refresh("user=alice&tenant=other&life=10m"))
		u.fails("unauthorized", frame{"type": "refresh"})
		u.fails("unauthorized", frame{"type": "refresh", "ticket": "made-up"})
		late := refresh("user=alice&life=10m")
		pass(30 * time.Second)
		u.fails("unauthorized", late)
		pass(31 * time.Second)
		u.closes(gohub.CloseTokenExpired) // none of them helped
	})
}

func TestHeartbeat(t *testing.T) {
	virtual(t, func(t *testing.T) {
		const ping = 20 * time.Second
		w := startVirtual(t, gohub.Config{PingInterval: ping})
		answers := w.as("alice") // coder answers pings
		require.Equal(t, ping.Milliseconds(), answers.welcome.num("ping_ms"))
		began := time.Now()
		dead := w.bare("user=dead")
		var pinged, closed time.Duration
		for closed == 0 {
			op, p, err := dead.read()
			require.NoError(t, err)
			switch op {
			case opPing:
				require.Zero(t, pinged, "pinged once")
				pinged = time.Since(began)
			case opClose:
				closed = time.Since(began)
				require.Equal(t, gohub.CloseHeartbeatTimeout, int(p[0])<<8|int(p[1]))
			}
		}
		require.InDelta(t, ping.Seconds(), pinged.Seconds(), 1.1)
		require.InDelta(t, 2*ping.Seconds(), closed.Seconds(), 1.1)

		// One that says something by itself is not pinged.
		talks := w.bare("user=talks")
		go func() { // ends with the connection
			for {
				if _, err := talks.nc.Write([]byte{0x80 | 0xa, 0x80, 0, 0, 0, 0}); err != nil { // a pong
					return
				}
				time.Sleep(ping / 2)
			}
		}()
		_, err := talks.frame()
		require.NoError(t, err)
		require.NoError(t, talks.nc.SetReadDeadline(time.Now().Add(10*ping)))
		_, _, err = talks.read()
		require.ErrorContains(t, err, "timeout")
		_ = talks.nc.Close()

		pass(time.Hour)
		answers.sync()
	})
}

// A client that does not read is cut off before it costs more memory than the
// limit says, and resumes where it was.
func TestSlowConsumer(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{MaxQueue: 64 << 10, PingInterval: time.Hour})
		others := w.as("bob", "r")
		slow := w.bare("user=slow")
		slow.text(`{"type":"join","room":"r"}`)
		var last int64
		for {
			f, err := slow.frame()
			require.NoError(t, err)
			if f["type"] == "joined" {
				break
			}
		}
		body := []byte(`"` + strings.Repeat("x", 2000) + `"`)
		var want []int64
		for range 100 {
			want = append(want, w.post(gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: body}))
			synctest.Wait()
		}
		require.Equal(t, want, seqsOf(others.collect("r", 100)), "the others have not noticed")
		var got []int64
		for {
			op, p, err := slow.read()
			require.NoError(t, err)
			if op == opClose {
				require.Equal(t, gohub.CloseSlowConsumer, int(p[0])<<8|int(p[1]))
				break
			}
			if f := decoded(t, p); f["type"] == "message" {
				last = f.num("seq")
				got = append(got, last)
			}
		}
		require.Less(t, len(got), 50)
		_ = slow.nc.Close()
		again := w.as("slow")
		require.Equal(t, false, again.join("r", last)["truncated"])
		require.Equal(t, want, append(got, seqsOf(again.collect("r", 100-len(got)))...))
	})
}

// Nor does one that has stopped reading and writing altogether stay.
func TestFrozenConsumer(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{})
		frozen := w.bare("user=frozen") // does not even read "welcome"
		_ = frozen
		pass(time.Second)
		require.Len(t, w.hub.Sessions("", "frozen"), 1)
		pass(time.Minute)
		require.Empty(t, w.hub.Sessions("", "frozen"))
	})
}
