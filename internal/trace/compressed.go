package trace

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// The first bytes of compressed files.
var (
	gzipMagic = []byte{0x1f, 0x8b, 8}
	xzMagic   = []byte{0xfd, '7', 'z', 'X', 'Z', 0}
)

// decompress returns r without its compression, if it has one. Close reports whether the compressed bytes were whole.
func decompress(ctx context.Context, r io.Reader) (io.ReadCloser, error) {
	in := bufio.NewReaderSize(r, 1<<16)
	first, err := in.Peek(len(xzMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(first, gzipMagic):
		return gzip.NewReader(in)
	case bytes.Equal(first, xzMagic):
		return startXz(ctx, in)
	}
	return io.NopCloser(in), nil
}

// xz is the output of the program xz.
type xz struct {
	io.Reader
	cmd    *exec.Cmd
	errs   bytes.Buffer
	cancel context.CancelFunc
}

func startXz(ctx context.Context, in io.Reader) (io.ReadCloser, error) {
	path, err := exec.LookPath("xz")
	if err != nil {
		return nil, fmt.Errorf("it is compressed by xz, and there is no program xz: install it (xz-utils), or decompress the file: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	x := &xz{cmd: exec.CommandContext(ctx, path, "-dc"), cancel: cancel}
	x.cmd.Stdin, x.cmd.Stderr = in, &x.errs
	if x.Reader, err = x.cmd.StdoutPipe(); err == nil {
		err = x.cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return x, nil
}

// Close waits for the end of the program, and ends it if its output has not been read to its end.
func (x *xz) Close() error {
	defer x.cancel()
	if n, _ := x.Read(make([]byte, 1)); n > 0 { // an error has stopped the reading: that one counts
		x.cancel()
		_ = x.cmd.Wait()
		return nil
	}
	if err := x.cmd.Wait(); err != nil {
		return fmt.Errorf("xz: %w: %s", err, strings.TrimSpace(x.errs.String()))
	}
	return nil
}
