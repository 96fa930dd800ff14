package cli

import (
	"fmt"
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

// place returns the configuration of a command line that is not complete yet.
func (a *App) place() (dsm.Config, error) {
	dir, err := a.Dir, error(nil)
	if dir == "" {
		dir, err = instance.DefaultDir()
	}
	return dsm.Config{Dir: dir, Logger: zerolog.Nop()}, err
}

func (a *App) reportToComplete(cmd *cobra.Command) (r dsm.Report) {
	if cfg, err := a.place(); err == nil {
		r, _ = dsm.Inspect(cmd.Context(), cfg)
	}
	return r
}

// Handles lists the handles of segments.
func (a *App) Handles(cmd *cobra.Command) (list []string) {
	for _, s := range a.reportToComplete(cmd).Segments {
		list = append(list, fmt.Sprintf("%v\t%d bytes, of process %d (%s)", s.Handle, s.Size, s.CreatorPid, s.Creator))
	}
	return list
}

// Names lists the names of areas and of what lies in areas.
func (a *App) Names(cmd *cobra.Command) (list []string) {
	infos, _ := registry.Names(a.reportToComplete(cmd))
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
		infos, _ := registry.Names(a.reportToComplete(cmd))
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

// SettingNames lists the settings.
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
