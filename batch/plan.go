package batch

// A planner makes plans by the program's rules. It hides their types of groups and keys from the engine.
type planner[Cmd, Res any] interface {
	// plan fills p with the entries for calls, in their order of execution. It answers calls whose rules panic.
	plan(p *plan[Cmd, Res], calls []*call[Cmd, Res], merge bool, e *Engine[Cmd, Res])
	// split stores the results of an entry that many calls share in these, and reports whether they are sure.
	storeShared(p *plan[Cmd, Res], x int) (bool, error)
	// committed lets the answers that Get has in memory follow entries lo up to hi of p, and tells the program of them.
	committed(p *plan[Cmd, Res], lo, hi int, known bool) error
	lookup(cmd Cmd) (Res, bool)
	hits() uint64
}

// A plan is what a flush executes: entries in their order. Entries of one statement follow one another.
type plan[Cmd, Res any] struct {
	entries      []entry[Cmd, Res]
	cmds         []Cmd // by entry, as drivers want them
	res          []Res
	errs         []error
	steps        []Step[Cmd, Res]
	starts       []int // of steps: the entry that each begins with
	writes       int   // entries that are not reads
	merged       int   // calls that share an entry that is not a read
	shared       int   // calls that share an entry
	interactions int
}

// An entry is one command of a statement, and the calls that it answers.
type entry[Cmd, Res any] struct {
	first, last *call[Cmd, Res]
	n           int // calls
	statement   int
	read        bool
	err         error // it has failed in the transaction under way; told when that is committed
}

// place is where an entry stands: a statement is all entries of one level and group. Levels are executed in their
// order, the groups of a level in the order of their ranks.
type place struct {
	level, rank int
	group       int
	entry       int
}

// before reports whether statements at p are executed before those at q.
func (p place) before(q place) bool {
	return p.level < q.level || p.level == q.level && p.rank < q.rank
}

// after moves p to the first place of its group that is executed after q.
func (p *place) after(q place) {
	switch {
	case p.level > q.level:
	case p.rank > q.rank && p.group >= 0 && q.group >= 0:
		p.level = q.level
	default:
		p.level = q.level + 1
	}
}

// between returns the steps for entries lo up to hi, without those that have failed.
func (p *plan[Cmd, Res]) between(lo, hi int) []Step[Cmd, Res] {
	clear(p.steps)
	p.steps, p.starts = p.steps[:0], p.starts[:0]
	for x := lo; x < hi; {
		if p.entries[x].err != nil {
			x++
			continue
		}
		y := x + 1
		for y < hi && p.entries[y].statement == p.entries[x].statement && p.entries[y].err == nil {
			y++
		}
		p.steps = append(p.steps, Step[Cmd, Res]{Cmds: p.cmds[x:y:y], Res: p.res[x:y:y], Errs: p.errs[x:y:y]})
		p.starts = append(p.starts, x)
		x = y
	}
	return p.steps
}

// entry returns the entry of the nth command of the steps.
func (p *plan[Cmd, Res]) entry(n int) int {
	for i, s := range p.steps {
		if n < len(s.Cmds) {
			return p.starts[i] + n
		}
		n -= len(s.Cmds)
	}
	last := len(p.steps) - 1
	return p.starts[last] + len(p.steps[last].Cmds)
}
