package atrest

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

type code int

func (c code) Run() int { return int(c) }

func TestM(t *testing.T) {
	for name, of := range map[string]struct {
		code  code
		ends  time.Duration // when the last goroutine does
		takes time.Duration
	}{
		"nothing is left":        {},
		"something ends late":    {ends: 8 * time.Second, takes: 8 * time.Second},
		"something does not end": {ends: time.Hour, takes: patience},
		"a test has failed":      {code: 1, ends: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				find := func(options ...string) error {
					assert.Equal(t, []string{"option"}, options)
					if time.Since(began) >= of.ends {
						return nil
					}
					time.Sleep(time.Second)
					return errors.New("left")
				}
				assert.EqualValues(t, of.code, M(of.code, find, "option").Run())
				assert.Equal(t, of.takes, time.Since(began))
			})
		})
	}
}
