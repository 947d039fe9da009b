package cellblock;

import com.sun.source.util.JavacTask;
import com.sun.source.util.TaskEvent;
import com.sun.source.util.TaskListener;
import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.OutputStream;
import java.io.StringWriter;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.jar.JarOutputStream;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import javax.lang.model.element.ExecutableElement;
import javax.lang.model.element.Modifier;
import javax.lang.model.element.TypeElement;
import javax.lang.model.type.TypeKind;
import javax.lang.model.util.ElementFilter;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;

/**
 * Compiles a submission by javac's own interface (javax.tools) to one jar whose manifest names its main class.
 *
 * `Build JAR SOURCE` compiles SOURCE and every other .java file below the working directory. `Build` without arguments
 * is the service of daemon/judge/service.py: one source after the other, which it never runs. Its public class may have
 * any name; a main class is one that is called Main, else the first, in the order of the sources, that has a main.
 */
public final class Build {
    private static final List<String> OPTIONS = List.of("-proc:none", "-encoding", "UTF-8", "-Xlint:-options");
    private static final String SAMPLE = "public class Main { public static void main(String[] a) { "
            + "java.util.Map<Integer, java.util.List<String>> m = new java.util.HashMap<>();"
            + "for (String s : a) m.computeIfAbsent(s.length(), k -> new java.util.ArrayList<>()).add(s + \"!\");"
            + "System.out.println(m.values().stream().mapToInt(java.util.List::size).sum()); } }";
    private static final int SAMPLES = 20; // by then most of javac that a small program needs is compiled

    private final JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    private final StandardJavaFileManager files = compiler.getStandardFileManager(null, null, StandardCharsets.UTF_8);

    public static void main(String[] arguments) throws IOException {
        Build build = new Build();
        if (arguments.length == 0) {
            build.serve();
        } else {
            Path jar = Path.of(arguments[0]), main = Path.of(arguments[1]);
            Result result = build.compile(Files.readString(main), main.toString(), sourcesBeside(main));
            System.err.print(result.diagnostics);
            if (result.jar != null) Files.write(jar, result.jar);
            System.exit(result.jar == null ? 1 : 0);
        }
    }

    /** `jar` is null where diagnostics stand in its way. */
    private record Result(byte[] jar, String diagnostics) {}

    private static List<Path> sourcesBeside(Path main) throws IOException {
        try (Stream<Path> found = Files.walk(Path.of(""))) {
            return found.filter(path -> path.toString().endsWith(".java") && !path.equals(main)).sorted().toList();
        }
    }

    private Result compile(String code, String name, List<Path> beside) throws IOException {
        List<JavaFileObject> sources = new ArrayList<>(List.of(new Source(name, code)));
        files.getJavaFileObjectsFromPaths(beside).forEach(sources::add);
        Classes classes = new Classes(files);
        StringWriter said = new StringWriter();
        JavacTask task = (JavacTask) compiler.getTask(said, classes, null, OPTIONS, null, sources);
        List<TypeElement> types = new ArrayList<>();
        task.addTaskListener(new TaskListener() {
            @Override
            public void finished(TaskEvent event) {
                if (event.getKind() == TaskEvent.Kind.ANALYZE) types.add(event.getTypeElement());
            }
        });
        boolean isBuilt = task.call();
        String mainClass = mainOf(types);
        if (isBuilt && mainClass == null) {
            said.append(name + ": error: no class has a method `public static void main(String[] args)`\n");
            isBuilt = false;
        }
        return new Result(isBuilt ? classes.jar(mainClass) : null, said.toString());
    }

    private static String mainOf(List<TypeElement> types) {
        List<String> found = types.stream()
                .filter(type -> ElementFilter.methodsIn(type.getEnclosedElements()).stream().anyMatch(Build::isMain))
                .map(type -> type.getQualifiedName().toString())
                .toList();
        return found.contains("Main") ? "Main" : found.isEmpty() ? null : found.get(0);
    }

    private static boolean isMain(ExecutableElement method) {
        return method.getSimpleName().contentEquals("main")
                && method.getModifiers().containsAll(List.of(Modifier.PUBLIC, Modifier.STATIC))
                && method.getReturnType().getKind() == TypeKind.VOID
                && method.getParameters().size() == 1
                && method.getParameters().get(0).asType().toString().equals("java.lang.String[]");
    }

    /** The main source, whose public class may have any name. */
    private static final class Source extends SimpleJavaFileObject {
        private final String name, code;

        Source(String name, String code) {
            super(URI.create("memory:///" + name), Kind.SOURCE);
            this.name = name;
            this.code = code;
        }

        @Override
        public String getName() {
            return name;
        }

        @Override
        public CharSequence getCharContent(boolean ignoreEncodingErrors) {
            return code;
        }

        @Override
        public boolean isNameCompatible(String simpleName, Kind kind) {
            return kind == Kind.SOURCE;
        }
    }

    /** Keeps what is compiled in memory. */
    private static final class Classes extends ForwardingJavaFileManager<JavaFileManager> {
        final Map<String, ByteArrayOutputStream> found = new TreeMap<>();

        Classes(JavaFileManager files) {
            super(files);
        }

        @Override
        public JavaFileObject getJavaFileForOutput(Location where, String name, JavaFileObject.Kind kind, FileObject of) {
            String path = name.replace('.', '/') + kind.extension;
            return new SimpleJavaFileObject(URI.create("memory:///" + path), kind) {
                @Override
                public OutputStream openOutputStream() {
                    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
                    found.put(path, bytes);
                    return bytes;
                }
            };
        }

        @Override
        public void close() {} // what is below is used again

        byte[] jar(String mainClass) throws IOException {
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            try (JarOutputStream jar = new JarOutputStream(bytes)) {
                String manifest = "Manifest-Version: 1.0\nMain-Class: " + mainClass + "\n";
                store(jar, "META-INF/MANIFEST.MF", manifest.getBytes(StandardCharsets.UTF_8));
                for (Map.Entry<String, ByteArrayOutputStream> entry : found.entrySet())
                    store(jar, entry.getKey(), entry.getValue().toByteArray());
            }
            return bytes.toByteArray();
        }

        private static void store(JarOutputStream jar, String name, byte[] content) throws IOException {
            CRC32 sum = new CRC32();
            sum.update(content);
            ZipEntry entry = new ZipEntry(name);
            entry.setMethod(ZipEntry.STORED);
            entry.setSize(content.length);
            entry.setCrc(sum.getValue());
            entry.setTime(0);
            jar.putNextEntry(entry);
            jar.write(content);
            jar.closeEntry();
        }
    }

    // -- the service: a frame is a length (4 bytes, big endian) and JSON

    private void serve() throws IOException {
        for (int turn = 0; turn < SAMPLES; turn++) compile(SAMPLE, "Main.java", List.of());
        send("{\"ready\": true}");
        DataInputStream in = new DataInputStream(new BufferedInputStream(System.in));
        for (;;) {
            byte[] body;
            try {
                body = in.readNBytes(in.readInt());
            } catch (EOFException end) {
                return;
            }
            Map<String, String> request = Json.read(new String(body, StandardCharsets.UTF_8));
            Result result = compile(request.get("code"), "Main.java", List.of());
            String code = result.jar == null ? "null" : Json.text(Base64.getEncoder().encodeToString(result.jar));
            send("{\"id\": " + request.get("id") + ", \"encoding\": \"base64\", \"code\": " + code
                    + ", \"diagnostics\": " + Json.text(result.diagnostics) + "}");
        }
    }

    private static void send(String text) {
        byte[] body = text.getBytes(StandardCharsets.UTF_8);
        byte[] frame = new byte[4 + body.length];
        for (int place = 0; place < 4; place++) frame[place] = (byte) (body.length >>> (24 - 8 * place));
        System.arraycopy(body, 0, frame, 4, body.length);
        System.out.write(frame, 0, frame.length);
        System.out.flush();
    }
}
