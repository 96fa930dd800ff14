//go:build !unix && !windows

package folder

import "errors"

// Identify is not for this system, which has no backend either.
func Identify(string) (Identity, error) { return Identity{}, errors.ErrUnsupported }
