package wire

// The text of a body is the body itself when that is a JSON string, or what an
// object has under "text" when that is a string; of a key given twice the last
// counts. Bodies are otherwise none of this package's business, and these
// functions take any bytes.

// Text gives the text of a body, unescaped.
func Text(body []byte) (s string, ok bool) {
	from, to := textAt(body)
	if from < 0 {
		return "", false
	}
	return string(unescape(make([]byte, 0, to-from), body[from:to])), true
}

// TextSlash reports whether the text of a body begins with a slash. Every chat
// message of a hub with commands comes by here: it must not allocate.
func TextSlash(body []byte) bool {
	if len(body) > 1 && body[0] == '"' && body[1] != '/' && body[1] != '\\' {
		return false
	}
	from, to := textAt(body)
	if from < 0 || from == to {
		return false
	}
	s := body[from:to]
	if s[0] != '\\' {
		return s[0] == '/'
	}
	if s[1] != 'u' {
		return s[1] == '/'
	}
	r, _ := hex4(s, 2)
	return r == '/'
}

// WithText gives a copy of body with s for its text. What else an object holds
// stays as it is, byte for byte; a body without a text becomes the string s.
func WithText(body []byte, s string) []byte {
	from, to := textAt(body)
	if from < 0 {
		return appendText(make([]byte, 0, textSize(s)), s)
	}
	out := make([]byte, 0, len(body)-(to-from)+textSize(s))
	out = append(out, body[:from-1]...)
	out = appendText(out, s)
	return append(out, body[to+1:]...)
}

// textAt finds the text of a body, without its quotes; from is negative if
// there is none.
func textAt(p []byte) (from, to int) {
	const none = -1
	i := space(p, 0)
	if i == len(p) {
		return none, none
	}
	if p[i] == '"' {
		end, _ := text(p, i+1)
		if end < 0 || space(p, end) != len(p) {
			return none, none
		}
		return i + 1, end - 1
	}
	if p[i] != '{' {
		return none, none
	}
	from = none
	for i = space(p, i+1); ; i = space(p, i+1) {
		at := key(p, i)
		if at < 0 { // also in the object that is empty
			return none, none
		}
		end := value(p, at, 1)
		if end < 0 {
			return none, none
		}
		if isText(p, i+1) {
			from = none
			if p[at] == '"' {
				from, to = at+1, end-1
			}
		}
		i = space(p, end)
		switch {
		case i == len(p):
			return none, none
		case p[i] == '}' && space(p, i+1) == len(p):
			return from, to
		case p[i] != ',':
			return none, none
		}
	}
}

// isText reports whether the key whose first byte is p[i] is "text".
func isText(p []byte, i int) bool {
	const name = "text"
	end, escaped := text(p, i)
	s := p[i : end-1]
	if !escaped {
		return string(s) == name
	}
	var buf [6 * len(name)]byte // every letter as \u0000
	return len(s) <= len(buf) && string(unescape(buf[:0], s)) == name
}
