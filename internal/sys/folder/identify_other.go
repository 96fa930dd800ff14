//go:build !unix && !windows

package folder

import "errors"

// Identify returns ErrUnsupported: this system has no backend either.
func Identify(string) (Identity, error) { return Identity{}, errors.ErrUnsupported }
