package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"
)

// Description is the C ABI: what abi/aperture.yaml says.
type Description struct {
	Library struct {
		Version       string
		ABIVersion    int `yaml:"abi_version"`
		Soname        string
		SymbolVersion string `yaml:"symbol_version"`
	}
	Constants []Constant
	Handles   []Handle
	Enums     []Enum
	Structs   []*Struct
	Functions []*Function
}

// Constant is a number that both sides must know.
type Constant struct {
	Name  string
	Value int64
	Doc   string
}

// Handle is a kind of opaque handle.
type Handle struct {
	Name, Doc string
}

// Enum is a set of named int32 values.
type Enum struct {
	Name, Doc string
	Values    []Constant
}

// Struct is a struct of the ABI. A sized one starts with its struct_size, which Fields then includes. Smallest is the
// size that it had in the first version: no caller has a smaller one.
type Struct struct {
	Name, Doc string
	Sized     *bool
	Fields    []*Field
	Size      int `yaml:"-"`
	Smallest  int `yaml:"-"`
}

// Field is a member of a struct; Offset and Size follow from the types, for 64-bit targets. Since is the version that
// added the field to a struct that was there before.
type Field struct {
	Name    string
	Type    string
	Doc     string
	Since   string
	Count   int
	Pointer bool
	Offset  int `yaml:"-"`
	Size    int `yaml:"-"`
}

// Function is an entry point. One that returns a code takes an error as its last parameter.
type Function struct {
	Name       string
	Entry      string
	Group      string
	Since      string
	Brief      string
	Parameters []*Parameter
	Returns    string
	Owns       string
	Thread     string
	Null       string `yaml:"null_pointers"`
	Errors     string
}

// How a function is answered.
const (
	entryHandle   = ""         // in Go, for a handle that is open
	entryStart    = "start"    // in Go, which it starts
	entryConstant = "constant" // in C, generated
	entryGuest    = "guest"    // in C, by capi/internal/guest
)

// Parameter is a parameter of a function; Pass says how it is handed over, and Failed what an out parameter holds when
// the call fails.
type Parameter struct {
	Name, Type, Doc, Pass string
	Failed                int
}

// How a parameter is handed over.
const (
	passValue = ""
	passIn    = "in"
	passOut   = "out"
	passInOut = "inout"
	passArray = "array"
)

func load(path string) (*Description, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	description := &Description{}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(description); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, s := range description.Structs {
		if s.Sized == nil || *s.Sized {
			size := &Field{Name: "struct_size", Type: "size", Doc: "sizeof this struct, as the caller was compiled."}
			s.Fields = append([]*Field{size}, s.Fields...)
		}
	}
	for _, f := range description.Functions {
		if f.Returns == "code" {
			f.Parameters = append(f.Parameters, &Parameter{
				Name: "error", Type: "error", Pass: passInOut,
				Doc: "Receives the code and a message; may be NULL. Set its struct_size first.",
			})
		}
	}
	return description, errors.Join(description.validate(), description.layOut())
}

// validate refuses what could not be understood by a reader of the header: every part is documented, every type exists.
func (d *Description) validate() error {
	var problems []error
	require := func(where, what, text string) {
		if text == "" {
			problems = append(problems, fmt.Errorf("%s: %s is missing", where, what))
		}
	}
	for _, c := range d.Constants {
		require(c.Name, "doc", c.Doc)
	}
	for _, h := range d.Handles {
		require(h.Name, "doc", h.Doc)
	}
	for _, e := range d.Enums {
		require(e.Name, "doc", e.Doc)
		for _, v := range e.Values {
			require(e.Name+"."+v.Name, "doc", v.Doc)
		}
	}
	for _, s := range d.Structs {
		require(s.Name, "doc", s.Doc)
		for _, f := range s.Fields {
			require(s.Name+"."+f.Name, "doc", f.Doc)
		}
	}
	for _, f := range d.Functions {
		switch f.Entry {
		case entryHandle, entryStart, entryConstant, entryGuest:
		default:
			problems = append(problems, fmt.Errorf("%s: unknown entry %q", f.Name, f.Entry))
		}
		require(f.Name, "since", f.Since)
		require(f.Name, "brief", f.Brief)
		require(f.Name, "returns", f.Returns)
		require(f.Name, "owns", f.Owns)
		require(f.Name, "thread", f.Thread)
		require(f.Name, "null_pointers", f.Null)
		require(f.Name, "errors", f.Errors)
		for _, p := range f.Parameters {
			require(f.Name+"."+p.Name, "doc", p.Doc)
			if _, _, err := d.sizeOf(p.Type); err != nil {
				problems = append(problems, fmt.Errorf("%s.%s: %w", f.Name, p.Name, err))
			}
		}
	}
	return errors.Join(problems...)
}

// layOut places the fields of every struct as a C compiler for a 64-bit target does. The layout test holds it against
// the compiler.
func (d *Description) layOut() error {
	for _, s := range d.Structs {
		offset, alignment := 0, 1
		for _, f := range s.Fields {
			size, align, err := d.sizeOf(f.Type)
			if err != nil {
				return fmt.Errorf("%s.%s: %w", s.Name, f.Name, err)
			}
			if f.Pointer {
				size, align = 8, 8
			}
			if f.Count > 0 {
				size *= f.Count
			}
			offset = (offset + align - 1) / align * align
			f.Offset, f.Size = offset, size
			switch {
			case f.Since == "" && s.Smallest != 0:
				return fmt.Errorf("%s.%s: is older than a field before it; a struct grows at its end only", s.Name, f.Name)
			case f.Since != "" && s.Smallest == 0:
				s.Smallest = offset
			}
			offset += size
			alignment = max(alignment, align)
		}
		s.Size = (offset + alignment - 1) / alignment * alignment
		if s.Size != offset {
			return fmt.Errorf("%s: %d bytes of padding at the end: name them, so that they can be given a meaning later", s.Name, s.Size-offset)
		}
		if s.Smallest == 0 {
			s.Smallest = s.Size
		}
	}
	return nil
}

func (d *Description) sizeOf(typeName string) (size, alignment int, err error) {
	switch typeName {
	case "char":
		return 1, 1, nil
	case "i32", "u32":
		return 4, 4, nil
	case "i64", "u64", "f64", "size", "const_char", "const_void":
		return 8, 8, nil
	}
	if d.isHandle(typeName) {
		return 8, 8, nil
	}
	if d.isEnum(typeName) {
		return 4, 4, nil
	}
	if s := d.structNamed(typeName); s != nil {
		return s.Size, 8, nil
	}
	return 0, 0, fmt.Errorf("unknown type %q", typeName)
}

func (d *Description) isHandle(name string) bool {
	for _, h := range d.Handles {
		if h.Name == name {
			return true
		}
	}
	return false
}

func (d *Description) isEnum(name string) bool {
	for _, e := range d.Enums {
		if e.Name == name {
			return true
		}
	}
	return false
}

func (d *Description) structNamed(name string) *Struct {
	for _, s := range d.Structs {
		if s.Name == name {
			return s
		}
	}
	return nil
}
