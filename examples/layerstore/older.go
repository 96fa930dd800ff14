package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"time"

	"go.podman.io/storage/pkg/lockfile"
)

// older is a process of a program that knows one lock for the whole store, and no table: it lists the images as a reader,
// and checks the store as a writer, again and again until its input ends. Then it commits an image of what is there.
type older struct {
	cmd *exec.Cmd
	out *bufio.Reader
	end func() error
}

const olderCommand = "older"

func startOlder(dir string) (*older, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, olderCommand, dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &older{cmd, bufio.NewReader(out), in.Close}, cmd.Start()
}

// finish lets it commit its image, and returns what it says.
func (o *older) finish() (string, error) {
	if err := o.end(); err != nil {
		return "", err
	}
	line, _ := o.out.ReadString('\n')
	return line, o.cmd.Wait()
}

// beOlder is that process.
func beOlder(dir string) error {
	ended := make(chan struct{})
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		close(ended)
	}()
	l, err := lockfile.GetLockFile(dir + "/storage.lock")
	if err != nil {
		return err
	}
	s := &store{place: place{Dir: dir}}
	var last lockfile.LastWrite
	var longest time.Duration
	lists, reloads, checks := 0, 0, 0
	l.RLock()
	last, err = l.GetLastWrite()
	l.Unlock()
	for over := false; err == nil && !over; {
		select {
		case <-ended:
			over = true
		case <-time.After(20 * time.Millisecond):
		}
		l.RLock()
		var changed bool
		if last, changed, err = l.ModifiedSince(last); err == nil && changed {
			reloads++
			_, err = os.ReadDir(dir + "/images")
		}
		lists++
		l.Unlock()
		if err != nil || lists%5 != 0 && !over {
			continue
		}
		began := time.Now()
		l.Lock()
		longest = max(longest, time.Since(began))
		checks++
		images, e := s.images()
		for _, m := range images { // alone with the store: all that is named is whole
			for _, digest := range m.Layers {
				if e == nil && !s.has(digest) {
					e = fmt.Errorf("image %s lacks layer %s", m.Name, short(digest))
				}
			}
		}
		if e == nil && over && len(images) > 0 {
			e = s.write(manifest{Name: "from-an-older-tool", Layers: images[0].Layers})
			if e == nil {
				_, e = l.RecordWrite()
			}
		}
		err = e
		l.Unlock()
	}
	if err != nil {
		return err
	}
	fmt.Printf("%d lists, of which %d had to read again, and %d times alone with the store, after waits of %d ms at most\n",
		lists, reloads, checks, longest.Milliseconds())
	return nil
}
