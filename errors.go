package gohub

import (
	"errors"
	"fmt"
	"time"
)

// Errors that Store and Broker implementations return, wrapped or bare, and
// that the hub tests for with errors.Is. The hub's own methods return them too.
var (
	// ErrIDConflict: the message id is taken in this room by another sender.
	ErrIDConflict = errors.New("message id is taken by another sender")
	// ErrUnavailable: it surely did not happen, and may work later.
	ErrUnavailable = errors.New("unavailable")
	// ErrUnknown: it may or may not have happened. Repeat it with the same
	// ids before anything else of that sender.
	ErrUnknown = errors.New("outcome unknown")
)

// Errors of the hub alone.
var (
	// ErrClosed: the hub is shut down, or the session has ended.
	ErrClosed = errors.New("closed")
	// ErrNoSession: no live session has that id.
	ErrNoSession = errors.New("no such session")
	// ErrUsage: a [Command] cannot do with its arguments. Its Run returns it,
	// and the client is told how the command is used.
	ErrUsage = errors.New("wrong arguments")
)

// RowError says that one message of a batch can never be stored. The hub
// answers its sender with an error and stores the rest.
type RowError struct {
	Index int // in the batch given to Append
	Err   error
}

func (e *RowError) Error() string { return fmt.Sprintf("message %d of the batch: %v", e.Index, e.Err) }
func (e *RowError) Unwrap() error { return e.Err }

// A Code tells a client what went wrong. The list is closed: clients switch
// on it. Embedding programs will want forbidden, bad_request, not_found,
// too_large and, with a RetryAfter, rate_limited, busy and unavailable;
// docs/protocol.md says what a client does about each.
type Code string

// The error codes of the protocol.
const (
	CodeBadJSON      Code = "bad_json"
	CodeUnknownType  Code = "unknown_type"
	CodeBadRequest   Code = "bad_request"
	CodeBadRoom      Code = "bad_room"
	CodeNotJoined    Code = "not_joined"
	CodeUnauthorized Code = "unauthorized"
	CodeForbidden    Code = "forbidden"
	CodeNotFound     Code = "not_found"
	CodeRateLimited  Code = "rate_limited"
	CodeTooLarge     Code = "too_large"
	CodeIDConflict   Code = "id_conflict"
	CodeBusy         Code = "busy"
	CodeUnavailable  Code = "unavailable"
	CodeDraining     Code = "draining"
	CodeInternal     Code = "internal"
)

// An Error is a refusal meant for a client's eyes: code, text and, where
// trying again makes sense, after how long. Middleware, call handlers and the
// like return one to choose what the client is told; any other error of theirs
// is logged and reaches the client as "internal" without its text, which asks
// the client to try again. What becomes of an [Authenticator]'s is said there.
type Error struct {
	Code       Code
	Message    string
	RetryAfter time.Duration // 0: trying again does not help
}

// Is makes "draining" an ErrClosed.
func (e *Error) Is(target error) bool { return target == ErrClosed && e.Code == CodeDraining }

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Errorf makes an [*Error] with a formatted message.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Close codes of the protocol. 4000–4499 ask the client to reconnect and
// resume, 4500–4999 to stay away.
const (
	CloseRestart          = 1012 // the hub shuts down, or the handshake came too late
	CloseInvalidUTF8      = 1007 // a text frame was not UTF-8
	CloseTooBig           = 1009 // a frame was beyond Config.MaxFrame
	CloseSlowConsumer     = 4000 // the client did not read as fast as messages came
	CloseTokenExpired     = 4001 // Identity.ExpiresAt, or a Revocation with Renew
	CloseRateLimited      = 4002 // it went on after 100 rate_limited within 10 s
	CloseHeartbeatTimeout = 4003 // it was silent, or sent no first frame
	CloseUnavailable      = 4004 // the session has panicked
	CloseSessionReplaced  = 4500 // by a newer one of its device, or of its user
	CloseUnauthorized     = 4501 // Hub.Revoke
	CloseForbidden        = 4502 // never sent by the hub itself: for Client.Close
	CloseKicked           = 4503 // Hub.Kick
	CloseProtocolError    = 4504 // three frames that are not the protocol within 10 s
)

// clientError turns any error into what the client may know of it.
func clientError(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e) && e != nil:
		return e
	case errors.Is(err, ErrIDConflict):
		return &Error{Code: CodeIDConflict, Message: "this id is taken by another sender's message"}
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrUnknown):
		return errUnavailable
	case errors.Is(err, ErrClosed):
		return errDraining
	}
	return errInternal
}

var (
	errUnavailable = &Error{Code: CodeUnavailable, Message: "not possible right now", RetryAfter: time.Second}
	errBusy        = &Error{Code: CodeBusy, Message: "too many messages wait to be stored", RetryAfter: 500 * time.Millisecond}
	errDraining    = &Error{Code: CodeDraining, Message: "this node is shutting down", RetryAfter: time.Second}
	errInternal    = &Error{Code: CodeInternal, Message: "something went wrong here", RetryAfter: time.Second}
)
