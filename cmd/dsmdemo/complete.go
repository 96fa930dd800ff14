package main

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

// first offers what list returns for the first argument.
func (a *app) first(list func(cmd *cobra.Command) []string) completion {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return list(cmd), cobra.ShellCompDirectiveNoFileComp
	}
}

// place is the configuration of a command line that is not complete yet.
func (a *app) place() (dsm.Config, error) {
	dir, err := a.dir, error(nil)
	if dir == "" {
		dir, err = instance.DefaultDir()
	}
	return dsm.Config{Dir: dir, Logger: zerolog.Nop()}, err
}

func (a *app) inspected(cmd *cobra.Command) (r dsm.Report) {
	if cfg, err := a.place(); err == nil {
		r, _ = dsm.Inspect(cmd.Context(), cfg)
	}
	return r
}

func (a *app) handles(cmd *cobra.Command) (list []string) {
	for _, s := range a.inspected(cmd).Segments {
		list = append(list, fmt.Sprintf("%v\t%d bytes, of process %d (%s)", s.Handle, s.Size, s.CreatorPid, s.Creator))
	}
	return list
}

// names are those of areas and of what lies in areas.
func (a *app) names(cmd *cobra.Command) (list []string) {
	infos, _ := registry.Names(a.inspected(cmd))
	for _, x := range infos {
		if x.Kind != "segment" {
			list = append(list, x.Name+"\t"+x.Kind)
		}
	}
	return list
}

func (a *app) settingNames(*cobra.Command) (list []string) {
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

// assignments offers settings for -c, which wants a value too.
func (a *app) assignments(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	list := a.settingNames(cmd)
	for i, s := range list {
		list[i] = strings.Replace(s, "\t", "=\t", 1)
	}
	return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// version is what --version prints: the module's version, as the Go command has recorded it, and what it may be mixed with.
func version() string {
	v := "(unknown)"
	if info, ok := debug.ReadBuildInfo(); ok {
		v = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v += ", revision " + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return fmt.Sprintf("%s, layout %d of the control segment", v, instance.LayoutVersion)
}
