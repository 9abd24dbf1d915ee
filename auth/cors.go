package auth

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gohub/gohub/internal/origin"
)

// CORSConfig says which pages of other origins may read a handler's answers.
type CORSConfig struct {
	// Origins is the same list as gohub.Config.Origins: "https://example.com"
	// or "https://*.example.com". Pages of these may send cookies along. "*"
	// lets all others read what is answered to a request without cookies.
	Origins []string
	// Methods that they may use, besides GET, HEAD and POST.
	Methods []string
	// Headers that they may send, besides Accept and the like. Defaults to
	// Authorization and Content-Type.
	Headers []string
	// Expose names headers of answers that they may read, besides
	// Content-Type and the like. Defaults to Retry-After.
	Expose []string
	// MaxAge is for how long a browser need not ask again. Defaults to 10 min,
	// at least 1 s. -1: it asks each time.
	MaxAge time.Duration
}

// CORS makes middleware that answers browsers' preflight requests, and names
// the origin in answers to pages that may read them. It hides answers, and
// stops nothing: what changes something needs [http.CrossOriginProtection] as
// well, which [Logins] has in it. An error names the field that cannot be.
func CORS(cfg CORSConfig) (func(http.Handler) http.Handler, error) {
	var list []string // without "*", which gives less
	public := false
	for _, o := range cfg.Origins {
		switch {
		case o == origin.Any:
			public = true
		case !origin.ValidEntry(o):
			return nil, fmt.Errorf("auth: CORSConfig.Origins has %q: an origin is scheme://host or scheme://*.host, with a port where it has one", o)
		default:
			list = append(list, o)
		}
	}
	switch {
	case cfg.MaxAge == 0:
		cfg.MaxAge = 10 * time.Minute
	case cfg.MaxAge == -1:
		cfg.MaxAge = 0
	case cfg.MaxAge < time.Second:
		return nil, fmt.Errorf("auth: CORSConfig.MaxAge is %v: the least is 1s, or -1 for none", cfg.MaxAge)
	}
	if cfg.Headers == nil {
		cfg.Headers = []string{"Authorization", "Content-Type"}
	}
	if cfg.Expose == nil {
		cfg.Expose = []string{"Retry-After"}
	}
	methods := strings.Join(append([]string{http.MethodGet, http.MethodHead, http.MethodPost}, cfg.Methods...), ", ")
	headers, expose := strings.Join(cfg.Headers, ", "), strings.Join(cfg.Expose, ", ")
	age := strconv.Itoa(int(cfg.MaxAge / time.Second))

	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Add("Vary", "Origin") // for caches, also when there is none
			o, _, ok := origin.Parse(r.Header["Origin"])
			listed := ok && origin.Listed(o, list)
			switch {
			case listed:
				h.Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
				h.Set("Access-Control-Allow-Credentials", "true")
			case ok && public:
				h.Set("Access-Control-Allow-Origin", origin.Any)
			}
			if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" || len(r.Header["Origin"]) == 0 {
				if listed || ok && public {
					h.Set("Access-Control-Expose-Headers", expose)
				}
				next.ServeHTTP(w, r)
				return
			}
			h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
			if listed || ok && public {
				h.Set("Access-Control-Allow-Methods", methods)
				h.Set("Access-Control-Allow-Headers", headers)
				h.Set("Access-Control-Max-Age", age)
			}
			w.WriteHeader(http.StatusNoContent)
		})
	}, nil
}
