package gohub

// RingOfPoints is a ring whose nodes lie where points says.
func RingOfPoints(points map[string][]uint64) *Ring {
	var all []ringPoint
	for node, at := range points {
		for _, p := range at {
			all = append(all, ringPoint{p, node})
		}
	}
	r := new(Ring)
	r.table.Store(newRingTable(all))
	return r
}

// RingAt is Lookup for a key that lies at h.
func RingAt(r *Ring, h uint64) string { return r.table.Load().nearest(h) }
