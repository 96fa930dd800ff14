package top

import (
	"context"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/godsm/godsm/dsm"
	"github.com/godsm/godsm/internal/command/cli"
	"github.com/godsm/godsm/internal/survey"
)

// model is the state of the screen. Looks are taken by commands of bubbletea, one at a time, and come back as messages.
type model struct {
	ctx      context.Context
	config   dsm.Config
	interval time.Duration
	sheets   []view
	current  int
	colours  bool
	screen   bool // a terminal shows it
	width    int
	height   int

	now, before *picture
	err         error // why there is no newer picture
	took        time.Duration
	paused      bool
	looking     bool

	selected map[int]string // of each view the line that is chosen
	top      int            // the first line on the screen
	inside   bool           // one line is looked into
	scroll   int            // its first line on the screen
	help     bool
	typing   bool // a filter
	typed    string
	fault    string // of what was typed
}

// seenMsg is the end of a look.
type seenMsg struct {
	picture *picture
	err     error
	took    time.Duration
}

// dueMsg says that it is time for the next look.
type dueMsg struct{}

func (m *model) sheet() view { return m.sheets[m.current] }

// Init begins the first look.
func (m *model) Init() tea.Cmd { return m.look() }

// look takes a picture.
func (m *model) look() tea.Cmd {
	m.looking = true
	ctx, config := m.ctx, m.config
	return func() tea.Msg {
		begin := time.Now()
		p, err := survey.Take(ctx, config)
		p.ReadEvents(ctx, config, maxEvents)
		return seenMsg{&p, err, time.Since(begin)}
	}
}

func (m *model) due() tea.Cmd {
	return tea.Tick(m.interval, func(time.Time) tea.Msg { return dueMsg{} })
}

// Update changes the state by a message.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case seenMsg:
		m.looking = false
		m.see(msg)
		return m, m.due()
	case dueMsg:
		if m.paused {
			return m, m.due()
		}
		return m, m.look()
	case tea.KeyPressMsg:
		if m.typing {
			m.typeFilter(msg)
			return m, nil
		}
		return m, m.press(msg.String())
	case tea.PasteMsg:
		if m.typing {
			m.typed += cli.Printable(msg.Content)
		}
	}
	return m, nil
}

// see takes over what a look has brought. What was seen last stays on the screen if there is nothing new.
func (m *model) see(s seenMsg) {
	m.err, m.took = s.err, s.took
	switch {
	case s.err == nil:
		m.before, m.now = m.now, s.picture
	case m.now != nil && s.picture != nil && len(s.picture.Events) > 0:
		last := *m.now // the events tell how it ended
		last.Events = s.picture.Events
		m.now = &last
	default:
		return
	}
	m.refill()
}

func (m *model) refill() {
	if m.now != nil {
		m.sheet().fill(m.now, m.before)
	}
}

// choice returns the index of the chosen line: that with the name that was chosen, or the one that is where it was.
func (m *model) choice() int {
	s := m.sheet()
	want := m.selected[m.current]
	for i := range s.len() {
		if want == "" || s.id(i) == want {
			return i
		}
	}
	return max(min(m.top, s.len()-1), 0)
}

// move chooses another line, or scrolls what is looked into.
func (m *model) move(lines int) {
	if m.inside {
		m.scroll = max(m.scroll+lines, 0)
		return
	}
	m.choose(m.choice() + lines)
}

func (m *model) choose(i int) {
	s := m.sheet()
	if s.len() == 0 {
		return
	}
	if m.selected == nil {
		m.selected = map[int]string{}
	}
	m.selected[m.current] = s.id(max(min(i, s.len()-1), 0))
}

func (m *model) turn(view int) {
	m.current, m.top, m.inside = (view+len(m.sheets))%len(m.sheets), 0, false
	m.refill()
}

// press obeys a key.
func (m *model) press(key string) tea.Cmd {
	if m.help && key != "q" && key != "ctrl+c" {
		m.help = false
		return nil
	}
	page := max(m.room()-1, 1)
	switch key {
	case "q", "ctrl+c":
		return tea.Quit
	case "1", "2", "3", "4", "5", "6", "7", "8", "9":
		if i := int(key[0] - '1'); i < len(m.sheets) {
			m.turn(i)
		}
	case "e":
		m.turn(slices.Index(titles(), "events"))
	case "tab", "right", "l":
		m.turn(m.current + 1)
	case "shift+tab", "left", "h":
		m.turn(m.current - 1)
	case "up", "k":
		m.move(-1)
	case "down", "j":
		m.move(1)
	case "pgup", "ctrl+b":
		m.move(-page)
	case "pgdown", "ctrl+f":
		m.move(page)
	case "home", "g":
		m.move(-1 << 30)
	case "end", "G":
		m.move(1 << 30)
	case "enter":
		if !m.inside && m.sheet().len() > 0 {
			m.choose(m.choice())
			m.inside, m.scroll = true, 0
		}
	case "esc", "backspace":
		if !m.inside {
			_ = m.sheet().narrow("")
			m.refill()
		}
		m.inside = false
	case "s":
		m.sheet().turn(1)
		m.refill()
	case "S":
		m.sheet().turn(-1)
		m.refill()
	case "r":
		m.sheet().reverse()
		m.refill()
	case "/":
		m.typing, m.typed, m.fault = true, m.sheet().filtered(), ""
	case "space":
		m.paused = !m.paused
	case "+", "=":
		m.interval = min(m.interval*2, time.Minute)
	case "-":
		m.interval = max(m.interval/2, 100*time.Millisecond)
	case "?":
		m.help = true
	}
	return nil
}

// typeFilter obeys a key while a filter is typed.
func (m *model) typeFilter(key tea.KeyPressMsg) {
	switch key.String() {
	case "esc", "ctrl+c":
		m.typing, m.fault = false, ""
	case "enter":
		if err := m.sheet().narrow(m.typed); err != nil {
			m.fault = strings.TrimPrefix(err.Error(), "--filter ")
			return
		}
		m.typing, m.fault, m.top = false, "", 0
		m.refill()
	case "backspace":
		if r := []rune(m.typed); len(r) > 0 {
			m.typed = string(r[:len(r)-1])
		}
	case "ctrl+u":
		m.typed = ""
	default:
		m.typed += cli.Printable(key.Text) // none, of a key that stands for no text
	}
}
