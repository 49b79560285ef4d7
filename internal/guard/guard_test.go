package guard

import (
	"bytes"
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// logger returns a logger and what it has written.
func logger() (*slog.Logger, *bytes.Buffer) {
	var written bytes.Buffer
	return slog.New(slog.NewTextHandler(&written, nil)), &written
}

func breakSomething() { panic(errors.New("broken")) }

func TestPanicOfAGoroutineIsLoggedWithItsStack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, written := logger()
		var told any
		var order []string
		Go(log, "test.go", breakSomething, func(cause any) {
			told = cause
			order = append(order, "recovered")
		}, func() { order = append(order, "finally") })
		synctest.Wait()
		assert.Equal(t, []string{"recovered", "finally"}, order)
		assert.EqualError(t, told.(error), "broken")
		assert.Contains(t, written.String(), "level=ERROR")
		assert.Contains(t, written.String(), "where=test.go")
		assert.Contains(t, written.String(), "panic=broken")
		assert.Contains(t, written.String(), "guard.breakSomething", "the stack of the panic")
		assert.Equal(t, 1, strings.Count(written.String(), "\n"), "one line")
	})
}

func TestGoroutineThatReturnsIsNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, written := logger()
		var order []string
		Go(log, "test.go", func() { order = append(order, "run") }, func(any) { t.Error("it did not panic") },
			func() { order = append(order, "finally") })
		synctest.Wait()
		assert.Equal(t, []string{"run", "finally"}, order)
		assert.Empty(t, written.String())
	})
}

func TestPanicOfTheRecoveryIsCaughtToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, written := logger()
		Go(log, "test.go", breakSomething, func(any) { panic("again") }, func() { panic("and again") })
		synctest.Wait()
		assert.Equal(t, 3, strings.Count(written.String(), "a panic was caught"))
	})
}

// handler is a slog.Handler that panics.
type handler struct{ slog.Handler }

func (handler) Enabled(context.Context, slog.Level) bool { return true }

func (handler) Handle(context.Context, slog.Record) error { panic("the handler") }

func TestLoggerThatPanicsDoesNoHarm(t *testing.T) {
	recovered := false
	assert.False(t, Do(slog.New(handler{slog.DiscardHandler}), "test.do", breakSomething, func(any) { recovered = true }))
	assert.True(t, recovered)
}

func TestLoopRunsAgainAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, written := logger()
		start, recoveries, ended := time.Now(), 0, make(chan struct{})
		var runs []time.Duration
		Keep(log, "test.keep", nil, func() {
			if runs = append(runs, time.Since(start)); len(runs) < 4 {
				panic(len(runs))
			}
		}, func(any) { recoveries++ }, func() { close(ended) })
		<-ended
		assert.Equal(t, []time.Duration{0, pause, 2 * pause, 3 * pause}, runs)
		assert.Equal(t, 3, recoveries)
		assert.Equal(t, 3, strings.Count(written.String(), "where=test.keep"))
	})
}

func TestLoopThatEndsDoesNotPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _ := logger()
		ending, ended := make(chan struct{}), make(chan time.Time, 1)
		runs := 0
		Keep(log, "test.keep", ending, func() { runs++; breakSomething() }, nil, func() { ended <- time.Now() })
		time.Sleep(pause / 2)
		now := time.Now()
		close(ending)
		assert.Equal(t, now, <-ended)
		assert.Equal(t, 1, runs)
	})
}

func TestPanicOfACallbackIsCaught(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, written := logger()
		ctx, cancel := context.WithCancel(t.Context())
		recovered := false
		AfterFunc(ctx, log, "test.callback", breakSomething, func(any) { recovered = true })
		unused := AfterFunc(ctx, log, "test.unused", breakSomething, nil)
		assert.True(t, unused())
		cancel()
		synctest.Wait()
		assert.True(t, recovered)
		assert.Contains(t, written.String(), "where=test.callback")
		assert.NotContains(t, written.String(), "test.unused")
	})
}

// Every goroutine of the library starts here.
func TestNoGoroutineStartsElsewhere(t *testing.T) {
	files := 0
	for _, tree := range []string{filepath.Join("..", "..", "core"), filepath.Join("..", "..", "capi")} {
		require.NoError(t, filepath.WalkDir(tree, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files++
			set := token.NewFileSet()
			parsed, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			for node := range ast.Preorder(parsed) {
				if start := goroutineOf(node); start != "" {
					t.Errorf("%s: %s starts a goroutine that nobody guards", set.Position(node.Pos()), start)
				}
			}
			return nil
		}))
	}
	require.Greater(t, files, 30, "the sources were not found")
}

// goroutineOf names how a node starts a goroutine by itself; it is empty for one that does not.
func goroutineOf(node ast.Node) string {
	switch node := node.(type) {
	case *ast.GoStmt:
		return "a go statement"
	case *ast.SelectorExpr:
		from, _ := node.X.(*ast.Ident)
		switch guarded := from != nil && from.Name == "guard"; {
		case guarded:
		case node.Sel.Name == "Go", node.Sel.Name == "AfterFunc":
			return "a call of " + node.Sel.Name
		}
	}
	return ""
}
