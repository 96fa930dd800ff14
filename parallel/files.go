package parallel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/godsm/godsm/internal/errkind"
)

// checkFiles refuses what no process can inherit.
func checkFiles(files []*os.File) error {
	if len(files) > 0 && !inheritsFiles {
		return errkind.As(errkind.Unsupported, errors.New("parallel: Options.Files: workers inherit no files on this system"))
	}
	if len(files) > maxFiles {
		return errkind.As(fs.ErrInvalid, fmt.Errorf("parallel: Options.Files: %d files, and %d are the most", len(files), maxFiles))
	}
	for i, f := range files {
		if f == nil {
			return errkind.As(fs.ErrInvalid, fmt.Errorf("parallel: Options.Files: number %d is nil", i))
		}
		conn, err := f.SyscallConn()
		if err == nil {
			err = conn.Control(func(uintptr) {})
		}
		if err != nil {
			return errkind.As(fs.ErrClosed, fmt.Errorf("parallel: Options.Files: number %d: %w", i, err))
		}
	}
	return nil
}
