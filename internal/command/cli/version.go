package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/godsm/godsm/internal/instance"
	"github.com/spf13/cobra"
)

// Version returns what --version prints: the module's version, as the Go command has recorded it, and what it may be mixed with.
func Version() string {
	return fmt.Sprintf("%s, layout %d of the control segment", moduleVersion(), instance.LayoutVersion)
}

func moduleVersion() string {
	v := "(unknown)"
	if info, ok := debug.ReadBuildInfo(); ok {
		v = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v += ", revision " + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return v
}

func (a *App) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:         "version",
		GroupID:     Help,
		Short:       "Print the version, and which layout of the shared memory it understands",
		Args:        cobra.NoArgs,
		Annotations: map[string]string{NoCleaning: "", JudgesSettings: ""},
		RunE: func(*cobra.Command, []string) error {
			if a.JSON {
				return a.PrintJSON(struct {
					Program string `json:"program"`
					Version string `json:"version"`
					Layout  int    `json:"layout"`
					Go      string `json:"go"`
					System  string `json:"system"`
				}{a.Program.Name, moduleVersion(), instance.LayoutVersion, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH})
			}
			_, err := fmt.Fprintf(a.Stdout, "%s %s, %s, %s/%s\n", a.Program.Name, Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
