package cli

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/instance"
	"github.com/godsm/godsm/registry"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

// Completions only look at the instance, and offer nothing where that is not possible.

type completion = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective)

// First offers what list returns for the first argument.
func (a *App) First(list func(cmd *cobra.Command) []string) completion {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return list(cmd), cobra.ShellCompDirectiveNoFileComp
	}
}

// place is the configuration of a command line that is not complete yet.
func (a *App) place() (dsm.Config, error) {
	dir, err := a.Dir, error(nil)
	if dir == "" {
		dir, err = instance.DefaultDir()
	}
	return dsm.Config{Dir: dir, Logger: zerolog.Nop()}, err
}

func (a *App) inspected(cmd *cobra.Command) (r dsm.Report) {
	if cfg, err := a.place(); err == nil {
		r, _ = dsm.Inspect(cmd.Context(), cfg)
	}
	return r
}

func (a *App) Handles(cmd *cobra.Command) (list []string) {
	for _, s := range a.inspected(cmd).Segments {
		list = append(list, fmt.Sprintf("%v\t%d bytes, of process %d (%s)", s.Handle, s.Size, s.CreatorPid, s.Creator))
	}
	return list
}

// Names are those of areas and of what lies in areas.
func (a *App) Names(cmd *cobra.Command) (list []string) {
	infos, _ := registry.Names(a.inspected(cmd))
	for _, x := range infos {
		if x.Kind != "segment" {
			list = append(list, x.Name+"\t"+x.Kind)
		}
	}
	return list
}

// NamesOf returns what lists the names of a kind; of all if it is empty.
func (a *App) NamesOf(kind string) func(cmd *cobra.Command) []string {
	return func(cmd *cobra.Command) (list []string) {
		infos, _ := registry.Names(a.inspected(cmd))
		for _, x := range infos {
			if kind == "" || x.Kind == kind {
				list = append(list, x.Name+"\t"+x.Kind)
			}
		}
		return list
	}
}

// Targets lists handles and names.
func (a *App) Targets(cmd *cobra.Command) []string {
	return append(a.NamesOf("")(cmd), a.Handles(cmd)...)
}

func (a *App) SettingNames(*cobra.Command) (list []string) {
	cfg, err := a.place()
	if err != nil {
		return nil
	}
	s, err := instance.Backends{}.Load(cfg.Dir, nil)
	if err != nil {
		return nil
	}
	for _, x := range s.List {
		list = append(list, x.Name+"\t"+x.About)
	}
	return list
}

// Assignments offers settings for -c, which wants a value too.
func (a *App) Assignments(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	list := a.SettingNames(cmd)
	for i, s := range list {
		list[i] = strings.Replace(s, "\t", "=\t", 1)
	}
	return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// Version is what --version prints: the module's version, as the Go command has recorded it, and what it may be mixed with.
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

// ParseHandle returns the handle that an argument is; the error is of wrong usage.
func ParseHandle(s string) (dsm.Handle, error) {
	h, err := dsm.ParseHandle(s)
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrUsage, err)
	}
	return h, err
}
