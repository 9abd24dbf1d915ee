// Package stats holds the few figures the benchmark quotes: percentiles of
// latencies, medians and spreads of rounds.
package stats

import "slices"

// Percentile returns the nearest-rank percentile of ascending values: the
// smallest one that at least p per cent of them do not exceed. 0 of nothing.
func Percentile[T int64 | float64](sorted []T, p float64) T {
	if len(sorted) == 0 {
		return 0
	}
	rank := p / 100 * float64(len(sorted))
	i := int(rank)
	if float64(i) < rank {
		i++ // ceil without rounding surprises
	}
	return sorted[min(max(i, 1), len(sorted))-1]
}

// Latency is a summary in milliseconds.
type Latency struct {
	P50 float64 `json:"p50_ms"`
	P90 float64 `json:"p90_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
	N   int     `json:"samples"`
}

// Summarize sorts samples (nanoseconds) in place.
func Summarize(samples []int64) Latency {
	slices.Sort(samples)
	ms := func(p float64) float64 { return float64(Percentile(samples, p)) / 1e6 }
	return Latency{P50: ms(50), P90: ms(90), P99: ms(99), Max: ms(100), N: len(samples)}
}

// Spread is what several rounds gave.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	N      int     `json:"n"`
}

// Of returns the median (mean of the middle two of an even number) and the
// extremes of values, which it does not change.
func Of(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return Spread{Median: (v[(n-1)/2] + v[n/2]) / 2, Min: v[0], Max: v[n-1], N: n}
}
