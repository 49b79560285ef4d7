package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/template"
)

// functions are what the templates can call: how a thing of the description is spelled in each language.
var functions = template.FuncMap{
	"upper":       strings.ToUpper,
	"pascal":      pascal,
	"pascalUpper": func(name string) string { return pascal(strings.ToLower(name)) },
	"comment":     comment,
	"wrap":        wrap,
	"major":       func(d *Description) string { return versionPart(d, 0) },
	"minor":       func(d *Description) string { return versionPart(d, 1) },
	"patch":       func(d *Description) string { return versionPart(d, 2) },
	"cType":       cType,
	"cField":      cField,
	"fieldDoc":    fieldDoc,
	"cParameter":  cParameter,
	"cReturn":     cReturn,
	"entryCall":   entryCall,
	"inGo":        func(f *Function) bool { return f.Entry == entryHandle || f.Entry == entryStart },
	"firstHandle": firstHandle,
	"onFailure":   onFailure,
	"isOutHandle": func(d *Description, p *Parameter) bool {
		return p.Pass == passOut && d.isHandle(p.Type)
	},
	"cInitializer": cInitializer,
	"isSized":      func(s *Struct) bool { return s.Fields[0].Name == "struct_size" },
	"pyField":      pyField,
	"pyAnnotation": pyAnnotation,
	"pyParameter":  pyParameter,
	"pyReturn":     pyReturn,
	"nodeParameter": func(d *Description, p *Parameter) string {
		if p.Pass != passValue {
			return "void *"
		}
		return nodeType(d, p.Type)
	},
	"nodeReturn": func(d *Description, f *Function) string {
		if f.Returns == "cstring" {
			return "str"
		}
		return nodeType(d, f.Returns)
	},
	"kind":         fieldKind,
	"returnsLabel": returnsLabel,
	"quoted":       func(s string) string { return fmt.Sprintf("%q", strings.TrimSpace(s)) },
	"json":         toJSON,
	"last":         func(i, length int) bool { return i == length-1 },
}

func pascal(snake string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(snake, "_") {
		if part == "ok" || part == "ns" {
			part = strings.ToUpper(part) // initialisms, as Go spells them
		}
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

func versionPart(d *Description, i int) string {
	return strings.Split(d.Library.Version, ".")[i]
}

// wrap breaks a text into lines of at most width characters.
func wrap(width int, text string) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// comment sets a text as lines of a C comment, behind an indentation and a label of its own.
func comment(indent, label, text string) string {
	prefix := indent + " * "
	hanging := strings.Repeat(" ", len(label))
	var b strings.Builder
	for i, line := range wrap(118-len(prefix)-len(label), text) {
		if i == 0 {
			b.WriteString(prefix + label + line)
		} else {
			b.WriteString("\n" + prefix + hanging + line)
		}
	}
	return b.String()
}

func cType(d *Description, typeName string) string {
	switch typeName {
	case "i32":
		return "int32_t"
	case "u32":
		return "uint32_t"
	case "i64":
		return "int64_t"
	case "u64":
		return "uint64_t"
	case "f64":
		return "double"
	case "size":
		return "size_t"
	case "char":
		return "char"
	case "const_char":
		return "const char *"
	case "const_void":
		return "const void *"
	}
	return "aperture_" + typeName
}

// fieldDoc describes a field, and says since when it is there if the struct is older.
func fieldDoc(f *Field) string {
	if f.Since == "" {
		return f.Doc
	}
	return strings.TrimSpace(f.Doc) + " Since " + f.Since + "."
}

// isPointer says whether a field is an address.
func isPointer(f *Field) bool {
	return f.Pointer || f.Type == "const_char" || f.Type == "const_void"
}

func cField(d *Description, f *Field) string {
	switch {
	case f.Pointer:
		return "const " + cType(d, f.Type) + " *" + f.Name
	case isPointer(f):
		return cType(d, f.Type) + f.Name
	case f.Count > 0:
		return fmt.Sprintf("%s %s[%d]", cType(d, f.Type), f.Name, f.Count)
	}
	return cType(d, f.Type) + " " + f.Name
}

func cParameter(d *Description, p *Parameter) string {
	switch p.Pass {
	case passIn:
		return "const " + cType(d, p.Type) + " *" + p.Name
	case passOut, passInOut, passArray:
		return cType(d, p.Type) + " *" + p.Name
	}
	return cType(d, p.Type) + " " + p.Name
}

func cReturn(d *Description, f *Function) string {
	if f.Returns == "cstring" {
		return "const char *"
	}
	return cType(d, f.Returns) + " "
}

// entryCall spells an argument of the call from an entry point into Go, which knows handles as numbers.
func entryCall(d *Description, p *Parameter) string {
	switch {
	case d.isHandle(p.Type) && p.Pass == passValue:
		return "(uint64_t)(uintptr_t)" + p.Name
	case d.isHandle(p.Type) && p.Pass == passOut:
		return p.Name + " != NULL ? &" + p.Name + "_number : NULL"
	case p.Pass == passIn:
		return "(" + cType(d, p.Type) + " *)" + p.Name
	}
	return p.Name
}

// firstHandle returns the parameter that a function is called on, or nil.
func firstHandle(d *Description, f *Function) *Parameter {
	for _, p := range f.Parameters {
		if p.Pass == passValue && d.isHandle(p.Type) {
			return p
		}
	}
	return nil
}

// onFailure spells what an out parameter receives when a call fails before it reaches Go, or nothing.
func onFailure(d *Description, p *Parameter) string {
	switch {
	case p.Pass != passOut:
		return ""
	case d.isHandle(p.Type):
		return "NULL"
	}
	return fmt.Sprint(p.Failed)
}

// cInitializer spells an initializer that names every field, so that it compiles in C and C++ without a warning.
func cInitializer(d *Description, s *Struct) string {
	var parts []string
	for _, f := range s.Fields {
		switch nested := d.structNamed(f.Type); {
		case f.Name == "struct_size":
			parts = append(parts, "sizeof(aperture_"+s.Name+")")
		case isPointer(f) || d.isHandle(f.Type):
			parts = append(parts, "NULL")
		case nested != nil:
			parts = append(parts, cInitializer(d, nested))
		case f.Count > 0:
			parts = append(parts, "{0}")
		default:
			parts = append(parts, "0")
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

var ctypesNames = map[string]string{
	"i32": "c_int32", "u32": "c_uint32", "i64": "c_int64", "u64": "c_uint64", "f64": "c_double", "size": "c_size_t",
	"char": "c_char", "const_char": "c_void_p", "const_void": "c_void_p",
}

func pyScalar(d *Description, typeName string) string {
	if name, ok := ctypesNames[typeName]; ok {
		return "ctypes." + name
	}
	if d.isHandle(typeName) {
		return "ctypes.c_uint64"
	}
	if d.isEnum(typeName) {
		return "ctypes.c_int32"
	}
	return pascal(typeName)
}

func pyField(d *Description, f *Field) string {
	switch {
	case f.Pointer:
		return "ctypes.c_void_p"
	case f.Count > 0:
		return fmt.Sprintf("%s * %d", pyScalar(d, f.Type), f.Count)
	}
	return pyScalar(d, f.Type)
}

func pyAnnotation(d *Description, f *Field) string {
	switch {
	case isPointer(f):
		return "Optional[int]"
	case f.Type == "char":
		return "bytes"
	case f.Type == "f64":
		return "float"
	case d.structNamed(f.Type) != nil:
		return pascal(f.Type)
	}
	return "int"
}

func pyParameter(d *Description, p *Parameter) string {
	if p.Pass != passValue {
		return "ctypes.c_void_p"
	}
	return pyScalar(d, p.Type)
}

func pyReturn(d *Description, f *Function) string {
	if f.Returns == "cstring" {
		return "ctypes.c_char_p"
	}
	return pyScalar(d, f.Returns)
}

func nodeType(d *Description, typeName string) string {
	switch typeName {
	case "i32":
		return "int32"
	case "u32":
		return "uint32"
	case "i64":
		return "int64"
	case "u64", "size":
		return "uint64"
	}
	if d.isHandle(typeName) {
		return "uint64"
	}
	return "int32"
}

// fieldKind names the plain type of a field, as the tables of bindings and tests do.
func fieldKind(d *Description, f *Field) string {
	switch {
	case isPointer(f):
		return "pointer"
	case d.isHandle(f.Type):
		return "handle"
	case d.isEnum(f.Type):
		return "i32"
	}
	return f.Type
}

func toJSON(value any) (string, error) {
	text, err := json.Marshal(value)
	return string(text), err
}

// returnsLabel introduces what a function returns; one whose list starts with the good outcomes needs no reminder.
func returnsLabel(f *Function) string {
	switch {
	case f.Returns != "code":
		return "Errors: "
	case strings.HasPrefix(f.Errors, "APERTURE_OK"), strings.HasPrefix(f.Errors, "APERTURE_PENDING"):
		return "Returns: "
	}
	return "Returns: APERTURE_OK; "
}
