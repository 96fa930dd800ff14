package main

import (
	"go/ast"
	"go/token"
	"regexp"
	"strconv"
	"strings"
)

// leastDensity holds the packages that programs read first: each has at least three comment lines for ten code lines.
var leastDensity = map[string]float64{
	"control": 0.3, "dsm": 0.3, "registry": 0.3, "shm/dsa": 0.3, "shm/dshash": 0.3, "shm/mq": 0.3, "shm/shmsync": 0.3,
}

// banned are wordings of which a reader can't tell who does what, or that are another language's. They are looked for in
// comments, and in the texts that a program prints.
var banned = []struct {
	rule, instead string
	words         *regexp.Regexp
}{
	{"whether", `"reports whether"`, regexp.MustCompile(`(?i)\b(says?|tells?|returns?) whether\b`)},
	{"headless", `name it: "the process that", "the caller", "a caller"`,
		regexp.MustCompile(`(?i)\b(who|whom)ever\b|\b(for|of|by|to|from|with|as) who\b|\bwho (has|is|does|holds|wants) .*\b(may|must|can|has to)\b`)},
	{"somebody", `name it: "another process", "no session"; or use the passive`, regexp.MustCompile(`\b(?i:(?:some|no|every|any)body)\b`)},
	{"he", `a process is "it"`, regexp.MustCompile(`\b(?i:he|his|him|himself)\b`)},
	{"idiom", "unavailable, cannot be", regexp.MustCompile(`(?i)\b(to|can't|cannot|could not|couldn't) be had\b`)},
	{"idiom", "inside, during", regexp.MustCompile(`(?i)\bamid\b`)},
	{"idiom", "until, in at most", regexp.MustCompile(`(?i)\bat the latest\b`)},
	{"idiom", "while that happens; or leave it away", regexp.MustCompile(`(?i)\bmeanwhile\.`)},
	{"idiom", "as far as possible", regexp.MustCompile(`(?i)\bas well as that goes\b`)},
	{"idiom", "is in, lies in", regexp.MustCompile(`(?i)\bstands? in (?:a|an|the|its|his|their|each|this|front)\b`)},
	{"idiom", "is informed of", regexp.MustCompile(`(?i)\b(is|are|be|was) told of\b`)},
	{"idiom", "ensures that", regexp.MustCompile(`(?i)\b(sees?|saw) to it\b`)},
	{"idiom", "invalid", regexp.MustCompile(`(?i)\bcan(no|')t be right\b`)},
	{"idiom", "unknown", regexp.MustCompile(`(?i)\bthat there is not\b`)},
	{"idiom", "what is meant, without the proverb", regexp.MustCompile(`(?i)\bgood will\b`)},
}

// silent are methods whose meaning the standard library has settled; they need no comment.
var silent = map[string]bool{
	"String": true, "Error": true, "Unwrap": true, "Is": true, "MarshalText": true, "UnmarshalText": true, "Len": true,
	"Less": true, "Swap": true, "Timeout": true, "Temporary": true, "Close": true,
}

// finite finds a verb in the third person, or one that is the same in each, at the beginning of what follows a name.
var finite = regexp.MustCompile(`^(?:also |never |only |just |then )?(?:[a-z-]+s|may|can|must|will|do|has|does)\b`)

// noVerb finds what looks like one: a copula, which says what a function is and not what it does.
var noVerb = regexp.MustCompile(`^(?:is|are|was) `)

// likeness is what may follow a copula: a comparison with another function, or how it is called.
var likeness = regexp.MustCompile(`^(?:is|are) (?:like|called|deferred by|"|safe|the same as|(?:[A-Z]\w*\.)?[A-Z]\w+ (?:with|without|but|for|that|in|of|and|which|on|as)\b)`)

const okMark = "language: ok"

// findings returns what the rules find in a folder, in the order of the files.
func (f *folder) findings() (list []finding) {
	for _, s := range f.files {
		list = append(list, s.wording()...)
		if !s.test() {
			list = append(list, s.docs()...)
			list = append(list, s.locks()...)
		}
	}
	if least := leastDensity[f.name]; f.density() < least {
		missing := int(least*float64(f.codeLines)) - f.commentLines + 1
		for range missing { // one for each line, so that the number in allowed.txt falls as comments come
			list = append(list, finding{f.name, "density", "a comment line is missing: " +
				strconv.FormatFloat(f.density(), 'f', 3, 64) + " for each code line, at least " + strconv.FormatFloat(least, 'f', 1, 64)})
		}
	}
	return list
}

// wording looks for banned words in comments and in texts: strings of more than one word.
func (s *source) wording() (list []finding) {
	look := func(pos token.Pos, text string) {
		if name, _, _ := strings.Cut(text, " is "); name == "nobody" || strings.Contains(text, okMark) { // the comment of a declaration
			return
		}
		for _, b := range banned {
			for _, m := range b.words.FindAllString(text, -1) {
				list = append(list, s.at(pos, b.rule, "%q; better: %s", m, b.instead))
			}
		}
	}
	for _, group := range s.ast.Comments {
		for i, c := range group.List {
			text := strings.TrimLeft(c.Text, "/* \t")
			look(c.Pos(), text)
			if i > 0 { // what a line break divides
				look2 := lastWord(group.List[i-1].Text) + " " + firstWord(text)
				look(c.Pos(), look2)
			}
		}
	}
	if s.test() {
		return list
	}
	ast.Inspect(s.ast, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && isText(lit.Value) {
			look(lit.Pos(), lit.Value)
		}
		return true
	})
	return list
}

func lastWord(s string) string {
	f := strings.Fields(s)
	if len(f) == 0 {
		return ""
	}
	return f[len(f)-1]
}

func firstWord(s string) string {
	f := strings.Fields(s)
	if len(f) == 0 {
		return ""
	}
	return f[0]
}

// isText reports whether a string is more than one word, and no regular expression.
func isText(s string) bool { return strings.Contains(s, " ") && !strings.Contains(s, `\b`) }

// docs checks the comments of functions and of exported types: the name first, then a finite verb.
func (s *source) docs() (list []finding) {
	for _, d := range s.ast.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			list = append(list, s.funcDoc(d)...)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				t, ok := spec.(*ast.TypeSpec)
				if !ok || !t.Name.IsExported() || s.ast.Name.Name == "main" {
					continue
				}
				doc := t.Doc.Text()
				if doc == "" && len(d.Specs) == 1 {
					doc = d.Doc.Text()
				}
				if doc == "" && t.Comment == nil && d.Doc == nil {
					list = append(list, s.at(t.Pos(), "missing", "type %s has no comment", t.Name.Name))
				} else if doc != "" && !regexp.MustCompile(`^((A|An|The) )?`+t.Name.Name+`\b`).MatchString(doc) {
					list = append(list, s.at(t.Pos(), "name", "the comment of type %s does not begin with its name", t.Name.Name))
				}
			}
		}
	}
	return list
}

func (s *source) funcDoc(d *ast.FuncDecl) (list []finding) {
	name, doc := d.Name.Name, d.Doc.Text()
	open := d.Name.IsExported() && (d.Recv == nil || ast.IsExported(base(d.Recv.List[0].Type)))
	if strings.Contains(doc, okMark) {
		return nil
	}
	if doc == "" {
		if open && !silent[name] && s.ast.Name.Name != "main" {
			list = append(list, s.at(d.Pos(), "missing", "%s has no comment", name))
		}
		return list
	}
	if name == "main" && d.Recv == nil {
		return nil
	}
	rest, ok := strings.CutPrefix(doc, name+" ")
	if !ok {
		if rest, ok = strings.CutPrefix(doc, name+", "); ok { // an apposition, up to the next comma
			if i := strings.Index(rest, ", "); i >= 0 {
				rest = rest[i+2:]
			}
		}
	}
	if !ok {
		return append(list, s.at(d.Pos(), "name", "the comment of %s does not begin with its name", name))
	}
	switch {
	case oneBool(d.Type) && !strings.Contains(doc, "report") && !banned[0].words.MatchString(doc):
		list = append(list, s.at(d.Pos(), "whether", "%s returns a bool: say what it reports: %q", name, first(rest)))
	case noVerb.MatchString(rest) && !likeness.MatchString(rest), !noVerb.MatchString(rest) && !finite.MatchString(rest):
		list = append(list, s.at(d.Pos(), "verb", "the comment of %s does not say what it does: %q", name, first(rest)))
	}
	return list
}

func first(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	if len(line) > 60 {
		line = line[:60] + "..."
	}
	return line
}

// oneBool reports whether a function returns a bool and nothing else.
func oneBool(t *ast.FuncType) bool {
	return t.Results != nil && len(t.Results.List) == 1 && len(t.Results.List[0].Names) < 2 && base(t.Results.List[0].Type) == "bool"
}

// base returns the name of a type without its pointer and its parameters.
func base(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return base(e.X)
	case *ast.IndexExpr:
		return base(e.X)
	case *ast.IndexListExpr:
		return base(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
