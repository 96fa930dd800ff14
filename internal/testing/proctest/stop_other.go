//go:build !unix && !windows

package proctest

import (
	"errors"
	"os"
)

func stop(*os.Process) error { return errors.ErrUnsupported }
