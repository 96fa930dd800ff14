package parallel

import "os"

func duplicateFiles([]*os.File) (list []*os.File, release func(), err error) {
	return nil, func() {}, nil
}

// inheritedFiles returns none: a socket is no handle that a process inherits here.
func inheritedFiles(ticket) ([]*os.File, error) { return nil, nil }
