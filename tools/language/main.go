// Command language judges the prose of the tree: what comments and error texts say, and how.
//
//	go run -C tools ./language            every finding beyond what allowed.txt permits; status 1 if there is one
//	go run -C tools ./language -all       every finding, permitted or not
//	go run -C tools ./language -write     lower the numbers of allowed.txt to what is left; it never raises one
//	go run -C tools ./language -density   comment lines per code line, by package
//	go run -C tools ./language DIR...     only these folders of the tree, without allowed.txt
//
// The rules are in rules.go. allowed.txt holds, by folder and rule, how many findings a folder still has; a new folder
// begins with none. A line that quotes a banned word on purpose ends in "language: ok".
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
)

func main() {
	all := flag.Bool("all", false, "print every finding, permitted or not")
	write := flag.Bool("write", false, "lower the numbers of allowed.txt")
	density := flag.Bool("density", false, "print comment lines per code line, by package")
	root := flag.String("root", "..", "the tree's root, from the directory tools")
	flag.Parse()
	if err := run(*root, flag.Args(), *all, *write, *density); err != nil {
		fmt.Fprintln(os.Stderr, "language:", err)
		os.Exit(1)
	}
}

// run does what the flags say. It returns an error if a folder has more findings than it may have.
func run(root string, only []string, all, write, density bool) error {
	folders, err := readTree(root, only)
	if err != nil {
		return err
	}
	if density {
		for _, f := range folders {
			fmt.Printf("%5.2f %5d/%-5d %s\n", f.density(), f.commentLines, f.codeLines, f.name)
		}
		return nil
	}
	file := filepath.Join(root, "tools", "language", "allowed.txt")
	permitted, err := readAllowed(file)
	if err != nil {
		return err
	}
	if len(only) > 0 {
		permitted = allowed{}
	}
	found := allowed{}
	lines := map[key][]string{}
	for _, f := range folders {
		for _, x := range f.findings() {
			k := key{f.name, x.rule}
			found[k]++
			lines[k] = append(lines[k], fmt.Sprintf("%s: %s: %s", x.place, x.rule, x.text))
		}
	}
	if write {
		return os.WriteFile(file, []byte(permitted.lowered(found).String()), 0o644)
	}
	over := permitted.exceeded(found)
	keys := over
	if all {
		keys = nil
		for k := range found {
			keys = append(keys, k)
		}
	}
	sort.Slice(keys, func(i, j int) bool { return keys[i].less(keys[j]) })
	for _, k := range keys {
		for _, l := range lines[k] {
			fmt.Println(l)
		}
		if permitted[k] > 0 {
			fmt.Printf("%s: %d findings of rule %s, of which %d are permitted\n", k.folder, found[k], k.rule, permitted[k])
		}
	}
	if len(over) > 0 && !all {
		return fmt.Errorf("%d folders have more findings than allowed.txt permits; mend what the lines above name", len(over))
	}
	fmt.Printf("%d findings left, all of them permitted: %d\n", found.sum(), permitted.sum())
	return nil
}
