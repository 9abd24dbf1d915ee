package pace

import "testing"

func BenchmarkYieldFresh(b *testing.B) {
	for b.Loop() {
		Yield()
	}
}

func BenchmarkLook(b *testing.B) {
	for b.Loop() {
		look()
	}
}
