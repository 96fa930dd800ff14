package segments

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/settings"
	"github.com/godsm/godsm/registry"
	"github.com/spf13/cobra"
)

// part is what of a segment is shown.
type part struct {
	from, length string
}

func (p *part) addTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.from, "offset", "0", "where to begin, in `bytes`, or with kB, MB, GB")
	cmd.Flags().StringVar(&p.length, "length", "", "how many `bytes`, or with kB, MB, GB (default: all that follow)")
}

// of returns where the part of n bytes begins and how long it is.
func (p *part) of(n int) (from, length int, err error) {
	at, err := settings.ParseBytes(p.from)
	if err != nil {
		return 0, 0, fmt.Errorf("%w: --offset %w", cli.ErrUsage, err)
	}
	if at > uint64(n) {
		return 0, 0, fmt.Errorf("%w: --offset %d is beyond the segment's %d bytes", cli.ErrUsage, at, n)
	}
	left := uint64(n) - at
	if p.length != "" {
		want, err := settings.ParseBytes(p.length)
		if err != nil {
			return 0, 0, fmt.Errorf("%w: --length %w", cli.ErrUsage, err)
		}
		left = min(left, want)
	}
	return int(at), int(left), nil
}

// look shows bytes of the segment that arg names, without a reference to it.
func (a *app) look(cmd *cobra.Command, arg string, p part, show func(t target, from int, b []byte) error) error {
	return dsm.Look(cmd.Context(), a.Config, func(r dsm.Report, bytes func(dsm.Handle) ([]byte, error)) error {
		names, err := registry.Names(r)
		if err != nil {
			return err
		}
		t, err := find(r, names, arg)
		if err != nil {
			return err
		}
		b, err := bytes(t.Handle)
		if err != nil {
			return err
		}
		from, n, err := p.of(min(t.Size, len(b)))
		if err != nil {
			return err
		}
		return show(t, from, b[from:from+n])
	})
}

func (a *app) catCommand() *cobra.Command {
	var p part
	cmd := &cobra.Command{
		Use:               "cat HANDLE|NAME",
		GroupID:           cli.Hold,
		ValidArgsFunction: a.First(a.Targets),
		Short:             "Print a segment's bytes, exactly, without attaching it",
		Long: `Print the bytes of the segment with that handle, or that the name stands for: of an area or a cache those of its first
segment. It takes no row and no reference, so it answers when the table is full and while a holder is stopped. Other processes
may write at the same time.`,
		Args: cobra.ExactArgs(1),
	}
	p.addTo(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.look(cmd, args[0], p, func(t target, from int, b []byte) error {
			if !a.JSON {
				_, err := a.Stdout.Write(b)
				return err
			}
			return a.PrintJSON(struct {
				Handle dsm.Handle `json:"handle"`
				Name   string     `json:"name,omitempty"`
				Size   int        `json:"size"`
				Offset int        `json:"offset"`
				Base64 []byte     `json:"base64"`
			}{t.Handle, t.name.Name, t.Size, from, append([]byte{}, b...)})
		})
	}
	return cmd
}

func (a *app) dumpCommand() *cobra.Command {
	var p part
	cmd := &cobra.Command{
		Use:               "dump HANDLE|NAME",
		GroupID:           cli.Hold,
		ValidArgsFunction: a.First(a.Targets),
		Short:             "Print a segment's bytes as hexadecimal digits and letters, without attaching it",
		Long: `Print the bytes of a segment, 16 a line: the offset, hexadecimal digits, and letters. Lines that repeat the one before are
one line with a star. As cat, it takes no row and no reference. With --json a line is an object: offset, hex.`,
		Args: cobra.ExactArgs(1),
	}
	p.addTo(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.look(cmd, args[0], p, func(_ target, from int, b []byte) error {
			w := bufio.NewWriterSize(a.Stdout, 64<<10)
			if a.JSON {
				for i := 0; i < len(b); i += bytesALine {
					fmt.Fprintf(w, "{\"offset\":%d,\"hex\":%q}\n", from+i, hex.EncodeToString(b[i:min(i+bytesALine, len(b))]))
				}
				return w.Flush()
			}
			if err := dump(w, from, b); err != nil {
				return err
			}
			return w.Flush()
		})
	}
	return cmd
}

const bytesALine = 16

// dump prints bytes, of which the first is at the offset from.
func dump(w io.Writer, from int, b []byte) error {
	var before string
	starred := false
	for i := 0; i < len(b); i += bytesALine {
		line := string(b[i:min(i+bytesALine, len(b))]) // a copy: others may write meanwhile
		if line == before && i+bytesALine < len(b) {
			if !starred {
				fmt.Fprintln(w, "*")
			}
			starred = true
			continue
		}
		before, starred = line, false
		letters := []byte(line)
		for k, c := range letters {
			if c < ' ' || c > '~' {
				letters[k] = '.'
			}
		}
		digits := ""
		for k := range line {
			if k == bytesALine/2 {
				digits += " "
			}
			digits += hex.EncodeToString([]byte(line)[k:k+1]) + " "
		}
		if _, err := fmt.Fprintf(w, "%08x  %-*s |%s|\n", from+i, bytesALine*3+1, digits, letters); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%08x\n", from+len(b))
	return err
}
