package savepoint_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/internal/long"
)

const (
	pageChild  = "SAVEPOINT_PAGE_CHILD"
	pageEvents = 60
	// pageWait is how long the child may take for a file; it is far more than it takes, also on a busy machine.
	pageWait = 30 * time.Second
)

var pageIDs = []string{"a", "b", "c", "d", "e", "f"}

// servePages opens each file that a line of in names, and writes one line about it to out.
func servePages(in io.Reader, out io.Writer) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		fmt.Fprintln(out, strings.ReplaceAll(tryPages(lines.Text()), "\n", " "))
	}
}

// tryPages opens a damaged file, for reading and then for writing. It returns "served" when what it read is right or
// is reported as damaged, "refused" with the error, or "WRONG" with what is wrong.
func tryPages(path string) string {
	before, err := os.ReadFile(path)
	if err != nil {
		return "WRONG " + err.Error()
	}
	answer := "served"
	for _, o := range []*savepoint.Options{{ReadOnly: true}, {Journal: 64 << 10}} {
		err := usePages(path, o)
		var wrong *wrongPages
		switch {
		case errors.As(err, &wrong):
			return "WRONG " + err.Error()
		case errors.Is(err, savepoint.ErrCorrupt), errors.Is(err, savepoint.ErrForeign), errors.Is(err, savepoint.ErrNewer):
			after, _ := os.ReadFile(path)
			if answer == "served" && !bytes.Equal(before, after) {
				return "WRONG a refused file was changed: " + err.Error()
			}
			return "refused " + err.Error()
		case err != nil:
			return "WRONG error: " + err.Error()
		}
		before, _ = os.ReadFile(path)
	}
	var mem runtime.MemStats
	if runtime.ReadMemStats(&mem); mem.Sys > 1<<30 {
		return fmt.Sprint("WRONG memory ", mem.Sys)
	}
	return answer
}

// wrongPages is the error of a file that served wrong data.
type wrongPages struct{ what string }

func (e *wrongPages) Error() string { return e.what }

// usePages reads everything and appends to each machine that serves. It returns nil when a machine or a call reports
// damage, and a wrongPages error for wrong data.
func usePages(path string, o *savepoint.Options) error {
	db, err := savepoint.Open(path, o)
	if err != nil {
		return err
	}
	rep := db.OpenReport()
	s, err := savepoint.Register(db, ledgerKind(7))
	if err == nil {
		for _, id := range pageIDs {
			if err = usePage(s, id, &rep, o.ReadOnly); err != nil {
				break
			}
		}
	}
	if damaged(err) {
		err = nil
	}
	if cerr := db.Close(); err == nil && cerr != nil && !damaged(cerr) {
		return fmt.Errorf("close: %w", cerr)
	}
	return err
}

// damaged returns whether an error reports damage.
func damaged(err error) bool {
	var gap *savepoint.GapError
	return errors.Is(err, savepoint.ErrCorrupt) || errors.Is(err, savepoint.ErrQuarantined) || errors.Is(err, savepoint.ErrStopped) ||
		errors.Is(err, savepoint.ErrInDoubt) || errors.As(err, &gap)
}

// usePage checks one machine of a damaged file, and appends to it unless the file is open for reading only.
func usePage(s *savepoint.Store[ledger], id string, rep *savepoint.OpenReport, readOnly bool) error {
	ctx := context.Background()
	st, err := s.Load(ctx, id)
	switch {
	case damaged(err):
		return nil
	case errors.Is(err, savepoint.ErrNotFound) && rep.DamagedHeads > 0:
		return nil // the id in its head is damaged, and the report says so
	case err != nil:
		return &wrongPages{fmt.Sprintf("load %s: %v", id, err)}
	case st.Value != after(int(st.Seq)):
		return &wrongPages{fmt.Sprintf("%s at %d is %+v", id, st.Seq, st.Value)}
	case st.Seq < pageEvents && !rep.MetaDamaged:
		return &wrongPages{fmt.Sprintf("%s is at seq %d only, and nothing reports damage", id, st.Seq)}
	}
	seq := uint64(0)
	for rec, err := range s.Events(ctx, id, savepoint.EventRange{}) {
		if damaged(err) {
			return nil
		}
		if err != nil {
			return &wrongPages{fmt.Sprintf("events of %s: %v", id, err)}
		}
		if seq++; rec.Seq != seq || rec.Event != entry(int(seq)) {
			return &wrongPages{fmt.Sprintf("%s: event %d is %+v", id, seq, rec)}
		}
	}
	if seq != st.Seq {
		return &wrongPages{fmt.Sprintf("%s has %d events, is at %d", id, seq, st.Seq)}
	}
	if readOnly {
		return nil
	}
	_, err = s.Append(ctx, id, entry(int(st.Seq)+1))
	if err != nil && !damaged(err) {
		return &wrongPages{fmt.Sprintf("append to %s: %v", id, err)}
	}
	return nil
}

// pageFile returns a file with many pages. With clean it was closed, else it is a copy of an open one, with
// records in its journal.
func pageFile(t testing.TB, pageSize int, clean bool) []byte {
	path := filepath.Join(t.TempDir(), "game.db")
	o := &savepoint.Options{Journal: 64 << 10, NoCompression: true}
	db, s := reopen(t, path, ledgerKind(7), o)
	for i := 1; i <= pageEvents; i++ {
		for _, id := range pageIDs {
			s.Go(t.Context(), id, entry(i))
		}
		if i%5 == 0 {
			require.NoError(t, db.Flush(t.Context()))
		}
	}
	require.NoError(t, db.Flush(t.Context()))
	if !clean {
		path = copied(t, path)
	} else {
		require.NoError(t, db.Close())
	}
	if pageSize != os.Getpagesize() {
		to := filepath.Join(t.TempDir(), "compact.db")
		src, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
		require.NoError(t, err)
		dst, err := bolt.Open(to, 0o600, &bolt.Options{PageSize: pageSize})
		require.NoError(t, err)
		require.NoError(t, bolt.Compact(dst, src, 0))
		require.NoError(t, src.Close())
		require.NoError(t, dst.Update(func(tx *bolt.Tx) error { // some pages become free
			_, err := tx.CreateBucket([]byte("more"))
			return err
		}))
		require.NoError(t, dst.Close())
		path = to
	}
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return b
}

// pagesOf is the content of a file and the numbers of its pages by what bbolt keeps in them.
type pagesOf struct {
	b      []byte
	size   int
	tree   []int // branch and leaf pages in use
	branch []int // those of tree that are branch pages
	free   int   // the page of the free list
}

// takeApart finds the pages of a sound file.
func takeApart(t testing.TB, b []byte, size int) *pagesOf {
	p := &pagesOf{b: b, size: size}
	// The newer of the two meta pages: free list at 48, pages at 56, transaction at 64.
	meta := b[:80]
	if second := b[size : size+80]; binary.NativeEndian.Uint64(second[64:]) > binary.NativeEndian.Uint64(meta[64:]) {
		meta = second
	}
	p.free = int(binary.NativeEndian.Uint64(meta[48:]))
	list := p.at(p.free)
	unused := map[int]bool{p.free: true}
	for i := range int(binary.NativeEndian.Uint16(list[10:])) {
		unused[int(binary.NativeEndian.Uint64(list[16+8*i:]))] = true
	}
	for id := 2; id < int(binary.NativeEndian.Uint64(meta[56:])); id++ {
		if unused[id] {
			continue
		}
		page := p.at(id)
		require.EqualValues(t, id, binary.NativeEndian.Uint64(page))
		p.tree = append(p.tree, id)
		if binary.NativeEndian.Uint16(page[8:]) == 1 {
			p.branch = append(p.branch, id)
		}
		id += int(binary.NativeEndian.Uint32(page[12:]))
	}
	return p
}

// at returns the bytes from the start of a page to the end of the file.
func (p *pagesOf) at(id int) []byte { return p.b[id*p.size:] }

// metas changes both meta pages and makes their checksums right again.
func (p *pagesOf) metas(change func(meta []byte)) {
	for i := range 2 {
		m := p.b[i*p.size+16:]
		change(m)
		h := fnv.New64a()
		h.Write(m[:56])
		binary.NativeEndian.PutUint64(m[56:], h.Sum64())
	}
}

// pageDamages are the ways to damage a file. Each gets a copy of it and returns the damaged one.
var pageDamages = []struct {
	name string
	do   func(r *rand.Rand, p *pagesOf) []byte
}{
	{"a byte of a page's header", func(r *rand.Rand, p *pagesOf) []byte {
		p.at(pick(r, p.tree))[r.IntN(16)] ^= byte(1 + r.IntN(255))
		return p.b
	}},
	{"a number of a page's header", func(r *rand.Rand, p *pagesOf) []byte {
		page := p.at(pick(r, append(p.tree, p.free)))
		switch r.IntN(4) {
		case 0:
			binary.NativeEndian.PutUint64(page, odd(r))
		case 1:
			binary.NativeEndian.PutUint16(page[8:], uint16([]int{0, 1, 2, 4, 16, 3, 0xffff}[r.IntN(7)]))
		case 2:
			binary.NativeEndian.PutUint16(page[10:], uint16(odd(r)))
		case 3:
			binary.NativeEndian.PutUint32(page[12:], uint32(odd(r)))
		}
		return p.b
	}},
	{"a byte of an element", func(r *rand.Rand, p *pagesOf) []byte {
		page := p.at(pick(r, p.tree))
		if n := int(binary.NativeEndian.Uint16(page[10:])); n > 0 {
			page[16+r.IntN(n*16)] ^= byte(1 + r.IntN(255))
		}
		return p.b
	}},
	{"a number of an element", func(r *rand.Rand, p *pagesOf) []byte {
		page := p.at(pick(r, p.tree))
		if n := int(binary.NativeEndian.Uint16(page[10:])); n > 0 {
			binary.NativeEndian.PutUint32(page[16+4*r.IntN(n*4):], uint32(odd(r)))
		}
		return p.b
	}},
	{"a child", func(r *rand.Rand, p *pagesOf) []byte { // it may be any page of the tree: another one, an ancestor or the page itself
		page := p.at(pick(r, p.branch))
		n := int(binary.NativeEndian.Uint16(page[10:]))
		binary.NativeEndian.PutUint64(page[16+r.IntN(n)*16+8:], uint64(pick(r, p.tree)))
		return p.b
	}},
	{"any byte in use", func(r *rand.Rand, p *pagesOf) []byte {
		p.at(pick(r, p.tree))[r.IntN(p.size)] ^= byte(1 + r.IntN(255))
		return p.b
	}},
	{"a page of zeros", func(r *rand.Rand, p *pagesOf) []byte {
		clear(p.at(pick(r, append(p.tree, p.free, 0, 1)))[:p.size])
		return p.b
	}},
	{"a page of garbage", func(r *rand.Rand, p *pagesOf) []byte {
		page := p.at(pick(r, append(p.tree, p.free)))
		for i := r.IntN(2) * 16; i < p.size; i++ {
			page[i] = byte(r.Uint32())
		}
		return p.b
	}},
	{"a sector of zeros", func(r *rand.Rand, p *pagesOf) []byte {
		clear(p.at(pick(r, p.tree))[r.IntN(p.size/512)*512:][:512])
		return p.b
	}},
	{"two pages changed places", func(r *rand.Rand, p *pagesOf) []byte {
		one, two := p.at(pick(r, p.tree))[:p.size], p.at(pick(r, p.tree))[:p.size]
		was := bytes.Clone(one)
		copy(one, two)
		copy(two, was)
		if r.IntN(2) == 0 { // each page has the number of its new place
			copy(two[:8], one[:8])
			copy(one[:8], was[:8])
		}
		return p.b
	}},
	{"a page over another", func(r *rand.Rand, p *pagesOf) []byte {
		one, two := p.at(pick(r, append(p.tree, p.free)))[:p.size], p.at(pick(r, append(p.tree, p.free)))[:p.size]
		copy(one[8:], two[8:])
		return p.b
	}},
	{"the free list", func(r *rand.Rand, p *pagesOf) []byte {
		page := p.at(p.free)
		n := int(binary.NativeEndian.Uint16(page[10:]))
		if n == 0 || r.IntN(3) == 0 { // one entry more
			n++
			binary.NativeEndian.PutUint16(page[10:], uint16(n))
		}
		binary.NativeEndian.PutUint64(page[16+r.IntN(n)*8:], uint64(pick(r, append(p.tree, p.free, 0, 1, len(p.b)/p.size))))
		return p.b
	}},
	{"a byte of a meta page", func(r *rand.Rand, p *pagesOf) []byte {
		p.b[r.IntN(2)*p.size+r.IntN(80)] ^= byte(1 + r.IntN(255))
		return p.b
	}},
	{"a number of the meta pages", func(r *rand.Rand, p *pagesOf) []byte {
		at := 4 * r.IntN(14)
		v := odd(r)
		if r.IntN(2) == 0 {
			v = uint64(pick(r, append(p.tree, p.free)))
		}
		p.metas(func(m []byte) { binary.NativeEndian.PutUint32(m[at:], uint32(v)) })
		return p.b
	}},
	{"cut off", func(r *rand.Rand, p *pagesOf) []byte {
		n := r.IntN(len(p.b)/p.size) * p.size
		return p.b[:n+r.IntN(2)*r.IntN(p.size)]
	}},
}

// pick returns one of the numbers.
func pick(r *rand.Rand, from []int) int { return from[r.IntN(len(from))] }

// odd returns a number that is seldom right as a length or a page number: small, near a power of two, huge or random.
func odd(r *rand.Rand) uint64 {
	switch r.IntN(4) {
	case 0:
		return r.Uint64N(40)
	case 1:
		return 1<<r.IntN(64) - r.Uint64N(2)
	case 2:
		return ^uint64(0) - r.Uint64N(40)
	}
	return r.Uint64()
}

// TestDamage_Pages damages the pages of files at random: no file ends or hangs the process that opens it, no file that is
// refused is changed, and what is served is right. SAVEPOINT_PAGES sets how many files, SAVEPOINT_SEED which ones,
// SAVEPOINT_PAGES_KEEP a directory for those that failed.
//
// The test is also the child process that opens the files: where bbolt panics, hangs or faults on one, only the
// child ends.
// row B19
func TestDamage_Pages(t *testing.T) {
	if os.Getenv(pageChild) != "" {
		servePages(os.Stdin, os.Stdout)
		return
	}
	files, seed := long.N(t, 120, 2400), uint64(1)
	if n, err := strconv.Atoi(os.Getenv("SAVEPOINT_PAGES")); err == nil {
		files = n
	}
	if n, err := strconv.ParseUint(os.Getenv("SAVEPOINT_SEED"), 10, 64); err == nil {
		seed = n
	}
	sound := []*pagesOf{
		takeApart(t, pageFile(t, os.Getpagesize(), true), os.Getpagesize()), takeApart(t, pageFile(t, os.Getpagesize(), false), os.Getpagesize()),
		takeApart(t, pageFile(t, 1024, true), 1024), takeApart(t, pageFile(t, 1024, false), 1024),
	}
	for _, p := range sound {
		require.NotZero(t, p.free)
	}
	require.NotEmpty(t, sound[3].branch)
	c := startPageChild(t)
	path := filepath.Join(t.TempDir(), "damaged.db")
	for _, p := range sound {
		require.NoError(t, os.WriteFile(path, p.b, 0o600))
		require.Equal(t, "served", c.try(t, path), "not damaged")
	}
	refused, served := map[string]int{}, map[string]int{}
	for i := range files {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		p := *sound[r.IntN(len(sound))]
		how := pageDamages[i%len(pageDamages)]
		if len(p.branch) == 0 && how.name == "a child" {
			p = *sound[3]
		}
		p.b = bytes.Clone(p.b)
		bad := how.do(r, &p)
		require.NoError(t, os.WriteFile(path, bad, 0o600))
		switch answer := c.try(t, path); {
		case answer == "served":
			served[how.name]++
		case strings.HasPrefix(answer, "refused "):
			refused[how.name]++
		default:
			if keep := os.Getenv("SAVEPOINT_PAGES_KEEP"); keep != "" {
				_ = os.WriteFile(filepath.Join(keep, fmt.Sprintf("%d-%d.db", seed, i)), bad, 0o600)
			}
			t.Errorf("seed %d, file %d, %s: %s", seed, i, how.name, answer)
			c = startPageChild(t)
		}
	}
	for _, how := range pageDamages {
		t.Logf("%-30s %5d refused %5d served", how.name, refused[how.name], served[how.name])
	}
}

// pageChildProcess is the process that opens damaged files.
type pageChildProcess struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan string
	said    *bytes.Buffer
}

// startPageChild starts this test as the child process.
func startPageChild(t *testing.T) *pageChildProcess {
	t.Helper()
	c := &pageChildProcess{cmd: exec.Command(os.Args[0], "-test.run=^TestDamage_Pages$", "-test.timeout=0"), answers: make(chan string, 1), said: new(bytes.Buffer)}
	c.cmd.Env = append(os.Environ(), pageChild+"=1")
	c.cmd.Stderr = c.said
	var err error
	c.in, err = c.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.cmd.Start())
	go func() {
		defer close(c.answers)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			c.answers <- lines.Text()
		}
	}()
	t.Cleanup(c.end)
	return c
}

func (c *pageChildProcess) end() {
	c.in.Close()
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// try returns the child's line about a file, or "DIED" or "HANGS" with what is known of the child.
func (c *pageChildProcess) try(t *testing.T, path string) string {
	t.Helper()
	if _, err := fmt.Fprintln(c.in, path); err != nil {
		return "DIED " + err.Error()
	}
	select {
	case answer, ok := <-c.answers:
		if !ok {
			c.end()
			return "DIED " + c.said.String()
		}
		return answer
	case <-time.After(pageWait):
		c.end()
		return "HANGS"
	}
}
