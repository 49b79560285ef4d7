// Generate writes everything that follows from the description of the C ABI in abi/aperture.yaml: see outputs.
// It is run by `make generate`, from the root of the repository.
package main

import (
	"bytes"
	"embed"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

//go:embed templates
var templates embed.FS

// outputs maps each template to the file that it makes.
var outputs = map[string]string{
	"aperture.h.tmpl":    "include/aperture.h",
	"aperture.map.tmpl":  "capi/aperture.map",
	"entry.c.tmpl":       "capi/entry.c",
	"constants.c.tmpl":   "capi/constants.c",
	"functions.h.tmpl":   "capi/internal/guest/functions.h",
	"abi.go.tmpl":        "capi/internal/abi/abi.go",
	"abi.py.tmpl":        "bindings/python/src/aperture_sdk/_abi.py",
	"abi.cjs.tmpl":       "bindings/node/lib/abi.cjs",
	"layout.json.tmpl":   "tests/layout/layout.json",
	"layout_test.c.tmpl": "tests/layout/layout_test.c",
}

func main() {
	description, err := load("abi/aperture.yaml")
	if err == nil {
		err = writeAll(description)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func writeAll(description *Description) error {
	parsed, err := template.New("").Funcs(functions).ParseFS(templates, "templates/*.tmpl")
	if err != nil {
		return err
	}
	for name, path := range outputs {
		var text bytes.Buffer
		if err := parsed.ExecuteTemplate(&text, name, description); err != nil {
			return err
		}
		content := text.Bytes()
		if strings.HasSuffix(path, ".go") {
			if content, err = format.Source(content); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
