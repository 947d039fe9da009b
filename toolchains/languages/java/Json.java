package cellblock;

import java.util.HashMap;
import java.util.Map;

/** As much of JSON as the service's frames have: an object of strings, numbers and words. */
final class Json {
    private final String text;
    private int place;

    private Json(String text) {
        this.text = text;
    }

    /** The values by their names; numbers and words as they are written. */
    static Map<String, String> read(String text) {
        Json json = new Json(text);
        Map<String, String> values = new HashMap<>();
        json.expect('{');
        do {
            String name = json.string();
            json.expect(':');
            values.put(name, json.next() == '"' ? json.string() : json.word());
        } while (json.next() == ',' && json.expect(','));
        json.expect('}');
        return values;
    }

    /** A string as JSON has it. */
    static String text(String value) {
        StringBuilder out = new StringBuilder(value.length() + 2).append('"');
        for (int index = 0; index < value.length(); index++) {
            char one = value.charAt(index);
            if (one == '"' || one == '\\') out.append('\\').append(one);
            else if (one < ' ' || Character.isSurrogate(one)) out.append(String.format("\\u%04x", (int) one));
            else out.append(one);
        }
        return out.append('"').toString();
    }

    private char next() {
        while (text.charAt(place) == ' ') place++;
        return text.charAt(place);
    }

    private boolean expect(char wanted) {
        if (next() != wanted) throw new IllegalArgumentException("no JSON of ours");
        place++;
        return true;
    }

    private String word() {
        int start = place;
        while (",} ".indexOf(text.charAt(place)) < 0) place++;
        return text.substring(start, place);
    }

    private String string() {
        expect('"');
        StringBuilder out = new StringBuilder();
        for (char one; (one = text.charAt(place++)) != '"'; ) {
            if (one == '\\') {
                one = text.charAt(place++);
                switch (one) {
                    case 'n' -> one = '\n';
                    case 't' -> one = '\t';
                    case 'r' -> one = '\r';
                    case 'b' -> one = '\b';
                    case 'f' -> one = '\f';
                    case 'u' -> {
                        one = (char) Integer.parseInt(text, place, place + 4, 16);
                        place += 4;
                    }
                    default -> {} // a quote, a backslash, a slash
                }
            }
            out.append(one);
        }
        return out.toString();
    }
}
