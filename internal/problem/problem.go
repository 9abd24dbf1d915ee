// Package problem answers HTTP requests with errors as JSON (RFC 9457), with
// the protocol's code in each.
package problem

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Status is the HTTP status of a code of the protocol.
func Status(code string) int {
	switch code {
	case "unauthorized":
		return http.StatusUnauthorized
	case "forbidden":
		return http.StatusForbidden
	case "rate_limited":
		return http.StatusTooManyRequests
	case "bad_request":
		return http.StatusBadRequest
	case "too_large":
		return http.StatusRequestEntityTooLarge
	case "busy", "unavailable", "draining":
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// Write answers with a problem; retry, if there is one, is rounded up to
// seconds for Retry-After.
func Write(w http.ResponseWriter, status int, code, detail string, retry time.Duration) {
	hd := w.Header()
	hd.Set("Content-Type", "application/problem+json")
	hd.Set("Cache-Control", "no-store")
	if retry > 0 {
		hd.Set("Retry-After", strconv.Itoa(int((retry+time.Second-1)/time.Second)))
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Title   string `json:"title"`
		Status  int    `json:"status"`
		Code    string `json:"code"`
		Detail  string `json:"detail"`
		RetryMS int64  `json:"retry_ms,omitempty"`
	}{http.StatusText(status), status, code, detail, retry.Milliseconds()})
}
