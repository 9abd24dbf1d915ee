// Package atrest gives the goroutines of tests time to end before goleak looks.
package atrest

import "time"

// patience is for how long goroutines may go on after the last test; goleak looks
// for less than half a second, and what holds up one at its end may take longer.
const patience = 10 * time.Second

// A TestingM is a *testing.M, or what stands for one.
type TestingM interface{ Run() int }

// M is m for goleak.VerifyTestMain: it has run when nothing is left any more by
// find, which is goleak.Find, or after 10 s.
func M[Option any](m TestingM, find func(...Option) error, options ...Option) TestingM {
	return run(func() int {
		code := m.Run()
		for until := time.Now().Add(patience); code == 0 && find(options...) != nil && time.Now().Before(until); {
		}
		return code
	})
}

type run func() int

func (r run) Run() int { return r() }
