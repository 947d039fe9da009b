const answer: number = 42;
const wrong: number = "forty-two";
console.log(answer, wrong);
