package wire

// ScratchCap is what c keeps between frames.
func ScratchCap(c *Command) int { return cap(c.scratch) }

const MaxScratch = maxScratch
