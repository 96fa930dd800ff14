//go:build linux

// Package pgtest finds PostgreSQL's programs and runs its servers, for tests and measurements.
package pgtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
)

// Programs returns the folder of PostgreSQL's programs, of the highest version that is installed.
func Programs() (string, error) {
	all, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(all) > 0 {
		return filepath.Dir(all[len(all)-1]), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", errors.New("there is no PostgreSQL (apt-get install postgresql)")
	}
	return filepath.Dir(path), nil
}

// Owner returns the user as which servers run: postgres for root, as which no server starts; nil for any other user.
func Owner() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root, and there is no user postgres: %w", err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

var turn sync.Mutex // of Spawn

// Spawn starts a server, which ends when this process does: from a thread that never ends, since it is a thread whose death
// the kernel tells a child of.
func Spawn(cmd *exec.Cmd) error {
	turn.Lock()
	defer turn.Unlock()
	once.Do(serve)
	requests <- cmd
	return <-answers
}

var (
	once              sync.Once
	requests, answers = make(chan *exec.Cmd), make(chan error)
)

func serve() {
	go func() {
		runtime.LockOSThread()
		for cmd := range requests {
			cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT
			answers <- cmd.Start()
		}
	}()
}
