package posix

import "context"

// reserve does nothing: macOS has no call that reserves memory for a shared-memory object.
func reserve(context.Context, int, int64) error { return nil }
