package render

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/godsm/godsm/bench/figure"
	"github.com/godsm/godsm/bench/machine"
	"github.com/godsm/godsm/bench/round"
	"github.com/godsm/godsm/bench/side"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

func init() { plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"} }

// Chart is a picture.
type Chart struct {
	File, Title string
	SVG         []byte
}

// curve is a chart of figures that grow with something: a line for each rival, both scales logarithmic.
type curve struct {
	file, title, x, y string
	part              string
	shape             *regexp.Regexp // of the figures; what its parentheses hold is x
	pin               side.Pin
	value             func(figure.Result) float64
	yText, xText      func(float64) string
}

func nsPerOp(r figure.Result) float64 { return r.NsPerOp }
func mbPerS(r figure.Result) float64  { return r.MBPerS }
func duration(v float64) string       { return round.Show(v, figure.Nanoseconds) }
func count(v float64) string          { return strconv.FormatFloat(v, 'f', -1, 64) }

func rate(v float64) string {
	if v >= 1e3 {
		return fmt.Sprintf("%.3g GB/s", v/1e3)
	}
	return fmt.Sprintf("%.3g MB/s", v)
}

func bytesText(v float64) string {
	switch {
	case v >= 1<<20:
		return fmt.Sprintf("%g MiB", v/(1<<20))
	case v >= 1<<10:
		return fmt.Sprintf("%g KiB", v/(1<<10))
	}
	return fmt.Sprintf("%g B", v)
}

var curves = []curve{
	{"create.svg", "Create and detach a segment (posix)", "size", "time", "segments",
		regexp.MustCompile(`^create\+detach (.*), posix$`), "", nsPerOp, duration, bytesText},
	{"attach.svg", "Attach and detach a segment (posix)", "size", "time", "segments",
		regexp.MustCompile(`^attach\+detach (.*), posix$`), "", nsPerOp, duration, bytesText},
	{"oneway.svg", "Messages one way, ring of 1 MiB, a CPU for each process", "message", "rate", "messages",
		regexp.MustCompile(`^one way (.*), ring 1 MiB$`), side.Diff, mbPerS, rate, bytesText},
	{"oneway-same.svg", "Messages one way, ring of 1 MiB, both processes on one CPU", "message", "rate", "messages",
		regexp.MustCompile(`^one way (.*), ring 1 MiB$`), side.Same, mbPerS, rate, bytesText},
	{"roundtrip.svg", "Round trip of a message, median, a CPU for each process", "message", "time", "messages",
		regexp.MustCompile(`^round trip (.*), ring 1 MiB, p50$`), side.Diff, nsPerOp, duration, bytesText},
	{"roundtrip-same.svg", "Round trip of a message, median, both processes on one CPU", "message", "time", "messages",
		regexp.MustCompile(`^round trip (.*), ring 1 MiB, p50$`), side.Same, nsPerOp, duration, bytesText},
	{"growth-create.svg", "Create and detach 4 KiB as live segments grow", "segments live", "time", "growth",
		regexp.MustCompile(`^create\+detach 4 KiB, (\d+) segments live$`), "", nsPerOp, duration, count},
	{"growth-attach.svg", "Attach and detach 4 KiB as live segments grow", "segments live", "time", "growth",
		regexp.MustCompile(`^attach\+detach 4 KiB, (\d+) segments live$`), "", nsPerOp, duration, count},
}

// Charts draws those charts whose figures there are.
func Charts(about machine.About, results []figure.Result) (list []Chart, err error) {
	if 2*unstable(results) > len(results) { // a picture has no room for a mark at each point
		about.Date += ", disturbed by other programs"
	}
	if svg, err := goals(about, results); err != nil {
		return nil, err
	} else if svg != nil {
		list = append(list, Chart{"ratios.svg", "What we take over what PostgreSQL takes", svg})
	}
	for _, c := range curves {
		svg, err := c.draw(about, results)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.file, err)
		}
		if svg != nil {
			list = append(list, Chart{c.file, c.title, svg})
		}
	}
	return list, nil
}

var palette = []color.RGBA{
	{0x00, 0x57, 0xb8, 0xff}, {0x77, 0x77, 0x77, 0xff}, {0xd1, 0x49, 0x1f, 0xff}, {0x2a, 0x8c, 0x4a, 0xff},
	{0x8e, 0x44, 0xad, 0xff}, {0xc7, 0x9a, 0x00, 0xff}, {0x00, 0x9a, 0x9a, 0xff}, {0xb0, 0x2a, 0x6b, 0xff},
}

var glyphs = []draw.GlyphDrawer{
	draw.CircleGlyph{}, draw.CrossGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{},
	draw.PlusGlyph{}, draw.RingGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{},
}

func (c curve) draw(about machine.About, results []figure.Result) ([]byte, error) {
	points := map[string]plotter.XYs{}
	var rivals []string
	for _, r := range results {
		m := c.shape.FindStringSubmatch(r.Shape)
		if r.Part != c.part || r.Pin != c.pin || m == nil || c.value(r) <= 0 {
			continue
		}
		x, err := amount(m[1])
		if err != nil {
			return nil, err
		}
		if !slices.Contains(rivals, r.Rival) {
			rivals = append(rivals, r.Rival)
		}
		points[r.Rival] = append(points[r.Rival], plotter.XY{X: x, Y: c.value(r)})
	}
	if len(rivals) == 0 || len(points[rivals[0]]) < 2 {
		return nil, nil
	}
	p := newPlot(c.title, about)
	p.X.Label.Text, p.Y.Label.Text = c.x, c.y
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	var at []float64
	for _, xy := range points[rivals[0]] {
		at = append(at, xy.X)
	}
	p.X.Tick.Marker = marks(at, c.xText)
	p.Y.Tick.Marker = decades(c.yText)
	for i := len(rivals) - 1; i >= 0; i-- { // ours last, above the others
		line, dots, err := plotter.NewLinePoints(points[rivals[i]])
		if err != nil {
			return nil, err
		}
		style(line, dots, rivals[i])
		p.Add(line, dots)
	}
	names := newLegend()
	for _, name := range rivals {
		line, dots := &plotter.Line{}, &plotter.Scatter{}
		style(line, dots, name)
		names.Add(name, line, dots)
	}
	return render(p, names, 22*vg.Centimeter, 11*vg.Centimeter)
}

// looks are the beginnings of rivals' names, in the palette's order: one looks the same in all charts.
var looks = [][]string{{figure.Ours}, {"raw system calls", "memcpy"}, {"PostgreSQL"}, {"Boost"}, {"pipe"},
	{"unix socket"}, {"shmipc"}, {"raw futex", "Python"}}

func style(line *plotter.Line, dots *plotter.Scatter, rival string) {
	i := max(0, slices.IndexFunc(looks, func(names []string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(rival, n) })
	}))
	width := vg.Points(1.2)
	if rival == figure.Ours {
		width = vg.Points(2.6)
	}
	line.LineStyle = draw.LineStyle{Color: palette[i], Width: width}
	dots.GlyphStyle = draw.GlyphStyle{Color: palette[i], Radius: vg.Points(3), Shape: glyphs[i]}
}

func newPlot(title string, about machine.About) *plot.Plot {
	p := plot.New()
	p.Title.Text = fmt.Sprintf("%s\n%s, %d CPUs, %s", title, about.CPU, about.CPUs, about.Date)
	p.Title.TextStyle.Font.Size = vg.Points(11)
	p.Title.Padding = vg.Points(6)
	p.BackgroundColor = color.White
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{0xdd}, color.Gray{0xee}
	p.Add(grid)
	return p
}

func newLegend() *plot.Legend {
	l := plot.NewLegend()
	l.Top, l.Left = true, true
	l.TextStyle.Font.Size = vg.Points(9)
	l.Padding = vg.Points(3)
	return &l
}

// render puts the legend beside the plot: inside it would hide lines.
func render(p *plot.Plot, names *plot.Legend, w, h vg.Length) ([]byte, error) {
	const margin, column = 0.3 * vg.Centimeter, 5 * vg.Centimeter
	c := vgsvg.New(w, h)
	all := draw.NewCanvas(c, w, h)
	all.SetColor(p.BackgroundColor)
	all.Fill(all.Rectangle.Path())
	p.Draw(draw.Crop(all, margin, -column, margin, -margin))
	names.Draw(draw.Crop(all, w-column+margin, 0, 0, -1.6*vg.Centimeter))
	var b bytes.Buffer
	_, err := c.WriteTo(&b)
	// Where Liberation is missing, these are of the same widths, or nearly so.
	return bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans"),
		[]byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif")), err
}

// amount returns a number, or a number of bytes as parts.Size writes it.
func amount(s string) (float64, error) {
	number, unit, _ := strings.Cut(s, " ")
	v, err := strconv.ParseFloat(number, 64)
	factor, ok := map[string]float64{"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20}[unit]
	if err != nil || !ok {
		return 0, fmt.Errorf("%q is no amount", s)
	}
	return v * factor, nil
}

// marks returns a ticker with a tick at each of the values, labelled by text.
func marks(at []float64, text func(float64) string) plot.Ticker {
	return plot.TickerFunc(func(_, _ float64) (ticks []plot.Tick) {
		for _, v := range at {
			ticks = append(ticks, plot.Tick{Value: v, Label: text(v)})
		}
		return ticks
	})
}

// decades returns a ticker with ticks at 1, 2 and 5 times the powers of ten; those at 1 have labels, and the others too if
// there are few.
func decades(text func(float64) string) plot.Ticker {
	return plot.TickerFunc(func(low, high float64) (ticks []plot.Tick) {
		few := math.Log10(high/low) < 2
		for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
			for _, f := range []float64{1, 2, 5} {
				v := f * math.Pow(10, e)
				if v < low || v > high {
					continue
				}
				label := ""
				if f == 1 || few {
					label = text(v)
				}
				ticks = append(ticks, plot.Tick{Value: v, Label: label})
			}
		}
		return ticks
	})
}

// goals returns a dot for each figure that has a goal against PostgreSQL, and a line at 1. Without such figures it is nil.
func goals(about machine.About, results []figure.Result) ([]byte, error) {
	var names []string
	var met, missed plotter.XYs
	for _, r := range slices.Backward(results) { // the first one on top
		if r.Met == nil || r.Ratio == 0 || !strings.HasPrefix(r.Rival, "PostgreSQL") {
			continue
		}
		at := plotter.XY{X: r.Ratio, Y: float64(len(names))}
		names = append(names, what(r))
		if *r.Met {
			met = append(met, at)
		} else {
			missed = append(missed, at)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	p := newPlot("What we take over what PostgreSQL takes: left of 1 we are ahead", about)
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, decades(func(v float64) string {
		return strconv.FormatFloat(v, 'g', 3, 64)
	})
	p.NominalY(names...)
	p.Y.Tick.Label.Font.Size = vg.Points(7)
	one, err := plotter.NewLine(plotter.XYs{{X: 1, Y: -0.5}, {X: 1, Y: float64(len(names)) - 0.5}})
	if err != nil {
		return nil, err
	}
	one.Color = color.Gray{0x66}
	p.Add(one)
	legend := newLegend()
	for i, dots := range []plotter.XYs{met, missed} {
		if len(dots) == 0 {
			continue
		}
		s, err := plotter.NewScatter(dots)
		if err != nil {
			return nil, err
		}
		s.GlyphStyle = draw.GlyphStyle{Color: palette[2*i], Radius: vg.Points(3), Shape: draw.CircleGlyph{}}
		p.Add(s)
		legend.Add([]string{"goal met", "goal missed"}[i], s)
	}
	p.X.Min, p.X.Max = min(p.X.Min/1.2, 0.5), max(p.X.Max*1.2, 2)
	return render(p, legend, 26*vg.Centimeter, vg.Length(len(names))*0.42*vg.Centimeter+4*vg.Centimeter)
}
