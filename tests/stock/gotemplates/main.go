// Renders Go templates as Ollama documents it, by Go's own text/template: the authority that ours is compared with.
//
// It reads {"templates": [...], "cases": [...]} and writes, for every template, what it makes of every case.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/template"
	"text/template/parse"
	"time"
)

func printed(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// Types prints as the only type there is, or as Go prints a list.
type Types []string

func (types *Types) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*types = Types{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(types))
}

func (types Types) MarshalJSON() ([]byte, error) {
	if len(types) == 1 {
		return json.Marshal(types[0])
	}
	return json.Marshal([]string(types))
}

func (types Types) String() string {
	if len(types) == 1 {
		return types[0]
	}
	return fmt.Sprintf("%v", []string(types))
}

type Property struct {
	AnyOf       []Property          `json:"anyOf,omitempty"`
	Type        Types               `json:"type,omitempty"`
	Items       any                 `json:"items,omitempty"`
	Description string              `json:"description,omitempty"`
	Enum        []any               `json:"enum,omitempty"`
	Properties  map[string]Property `json:"properties,omitempty"`
	Required    []string            `json:"required,omitempty"`
}

type Parameters struct {
	Type       string              `json:"type"`
	Defs       any                 `json:"$defs,omitempty"`
	Items      any                 `json:"items,omitempty"`
	Required   []string            `json:"required,omitempty"`
	Properties map[string]Property `json:"properties"`
}

func (parameters Parameters) String() string { return printed(parameters) }

type Function struct {
	Name        string     `json:"name"`
	Description string     `json:"description"`
	Parameters  Parameters `json:"parameters"`
}

func (function Function) String() string { return printed(function) }

type Tool struct {
	Type     string   `json:"type"`
	Items    any      `json:"items,omitempty"`
	Function Function `json:"function"`
}

func (tool Tool) String() string { return printed(tool) }

type Tools []Tool

func (tools Tools) String() string { return printed(tools) }

type Arguments map[string]any

func (arguments Arguments) String() string { return printed(arguments) }

type CallFunction struct {
	Index     int       `json:"index"`
	Name      string    `json:"name"`
	Arguments Arguments `json:"arguments"`
}

type ToolCall struct {
	ID       string       `json:"id,omitempty"`
	Function CallFunction `json:"function"`
}

type Message struct {
	Role       string     `json:"role"`
	Content    string     `json:"content"`
	Thinking   string     `json:"thinking"`
	Images     [][]byte   `json:"-"`
	ToolCalls  []ToolCall `json:"tool_calls"`
	ToolName   string     `json:"tool_name"`
	ToolCallID string     `json:"tool_call_id"`
}

type Case struct {
	Messages []Message `json:"messages"`
	Tools    Tools     `json:"tools"`
	Think    any       `json:"think"`
	Suffix   string    `json:"suffix"`
}

type Result struct {
	Text  string `json:"text"`
	Error string `json:"error"`
}

var typescript = map[string]string{
	"string": "string", "number": "number", "integer": "number", "boolean": "boolean",
	"array": "any[]", "object": "Record<string, any>", "null": "null",
}

func typescriptType(property Property) string {
	var names []string
	for _, one := range property.AnyOf {
		names = append(names, typescriptType(one))
	}
	if len(names) == 0 {
		for _, kind := range property.Type {
			name, known := typescript[kind]
			if !known {
				name = "any"
			}
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "any"
	}
	return strings.Join(names, " | ")
}

func day(offset int) func(...string) string {
	return func(...string) string { return time.Now().AddDate(0, 0, offset).Format("2006-01-02") }
}

var functions = template.FuncMap{
	"json":             printed,
	"currentDate":      day(0),
	"yesterdayDate":    day(-1),
	"toTypeScriptType": typescriptType,
}

func parsed(source string) (*template.Template, error) {
	return template.New("").Option("missingkey=zero").Funcs(functions).Parse(source)
}

// names says whether a field of that name is asked for anywhere below a node.
func names(node parse.Node, field string) bool {
	in := func(idents []string) bool {
		for _, ident := range idents {
			if ident == field {
				return true
			}
		}
		return false
	}
	branch := func(b *parse.BranchNode) bool {
		return names(b.Pipe, field) || names(b.List, field) || b.ElseList != nil && names(b.ElseList, field)
	}
	switch n := node.(type) {
	case *parse.ListNode:
		for _, one := range n.Nodes {
			if names(one, field) {
				return true
			}
		}
	case *parse.ActionNode:
		return names(n.Pipe, field)
	case *parse.IfNode:
		return branch(&n.BranchNode)
	case *parse.RangeNode:
		return branch(&n.BranchNode)
	case *parse.WithNode:
		return branch(&n.BranchNode)
	case *parse.TemplateNode:
		return n.Pipe != nil && names(n.Pipe, field)
	case *parse.PipeNode:
		for _, command := range n.Cmds {
			for _, argument := range command.Args {
				if names(argument, field) {
					return true
				}
			}
		}
	case *parse.FieldNode:
		return in(n.Ident)
	case *parse.VariableNode:
		return in(n.Ident)
	case *parse.ChainNode:
		return in(n.Field) || names(n.Node, field)
	}
	return false
}

func mentions(t *template.Template, field string) bool {
	for _, one := range t.Templates() {
		if one.Tree != nil && names(one.Tree.Root, field) {
			return true
		}
	}
	return false
}

// cut takes away what comes after the first action that prints the answer; it says whether there is one.
func cut(list *parse.ListNode) bool {
	if list == nil {
		return false
	}
	for i, node := range list.Nodes {
		found := false
		branch := func(b *parse.BranchNode) {
			if cut(b.List) {
				found, b.ElseList = true, nil
			} else {
				found = cut(b.ElseList)
			}
		}
		switch n := node.(type) {
		case *parse.ActionNode:
			found = len(n.Pipe.Decl) == 0 && names(n.Pipe, "Response")
		case *parse.IfNode:
			branch(&n.BranchNode)
		case *parse.RangeNode:
			branch(&n.BranchNode)
		case *parse.WithNode:
			branch(&n.BranchNode)
		}
		if found {
			list.Nodes = list.Nodes[:i+1]
			return true
		}
	}
	return false
}

func collated(messages []Message) []*Message {
	var merged []*Message
	for i := range messages {
		message := messages[i]
		if len(merged) > 0 && message.Role != "tool" && merged[len(merged)-1].Role == message.Role {
			last := merged[len(merged)-1]
			last.Content += "\n\n" + message.Content
			last.ToolCalls = append(last.ToolCalls, message.ToolCalls...)
			continue
		}
		merged = append(merged, &message)
	}
	return merged
}

func (c Case) data(values map[string]any) map[string]any {
	level, _ := c.Think.(string)
	on, isBool := c.Think.(bool)
	values["Think"], values["ThinkLevel"], values["IsThinkSet"] = on || !isBool && level != "", level, c.Think != nil
	return values
}

func render(source string, c Case) (text string, err error) {
	whole, err := parsed(source)
	if err != nil {
		return "", err
	}
	if !mentions(whole, "Messages") && !mentions(whole, "Response") {
		source += "{{ .Response }}"
		if whole, err = parsed(source); err != nil {
			return "", err
		}
	}
	var out strings.Builder
	if c.Suffix != "" {
		prompt := c.Messages[len(c.Messages)-1].Content
		err = whole.Execute(&out, c.data(map[string]any{"Prompt": prompt, "Suffix": c.Suffix, "Response": ""}))
		return out.String(), err
	}
	messages := collated(c.Messages)
	if mentions(whole, "Messages") {
		var systems []string
		for _, message := range messages {
			if message.Role == "system" {
				systems = append(systems, message.Content)
			}
		}
		err = whole.Execute(&out, c.data(map[string]any{
			"System": strings.Join(systems, "\n\n"), "Messages": messages, "Tools": c.Tools, "Response": "",
		}))
		return out.String(), err
	}
	var system, prompt, response string
	flush := func(t *template.Template) error {
		values := map[string]any{"System": system, "Prompt": prompt, "Response": response}
		system, prompt, response = "", "", ""
		return t.Execute(&out, c.data(values))
	}
	for _, message := range messages {
		if message.Role == "system" && prompt+response != "" || message.Role == "user" && response != "" {
			if err := flush(whole); err != nil {
				return "", err
			}
		}
		switch message.Role {
		case "system":
			system = message.Content
		case "user":
			prompt = message.Content
		case "assistant":
			response = message.Content
		}
	}
	open, err := parsed(source)
	if err != nil {
		return "", err
	}
	cut(open.Tree.Root)
	err = flush(open)
	return out.String(), err
}

func main() {
	var asked struct {
		Templates []string `json:"templates"`
		Cases     []Case   `json:"cases"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		panic(err)
	}
	results := make([][]Result, len(asked.Templates))
	for i, source := range asked.Templates {
		for _, c := range asked.Cases {
			text, err := render(source, c)
			result := Result{Text: text}
			if err != nil {
				result = Result{Error: err.Error()}
			}
			results[i] = append(results[i], result)
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(results); err != nil {
		panic(err)
	}
}
